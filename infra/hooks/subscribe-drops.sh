#!/bin/sh
# Subscribe the deployed app to new files in the drop containers. Repeating it changes nothing.
set -eu

# Right after a deployment the app may not have made the key of its blob triggers yet, or may be too
# slow to confirm the subscription, so a refusal is tried again.
tries=${SUBSCRIBE_TRIES:-10}
until az deployment group create --resource-group "$AZURE_RESOURCE_GROUP" --name drop-events \
    --template-file infra/events.bicep --output none \
    --parameters functionAppName="$FUNCTION_APP_NAME" systemTopicName="$SYSTEM_TOPIC_NAME"
do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        echo "The app is deployed, but not subscribed to the drop containers: see that" >&2
        echo "$GATEWAY_URL/api/health answers, then repeat this step: azd hooks run postdeploy" >&2
        exit 1
    fi
    echo "The drop containers are not subscribed yet; trying again in ${SUBSCRIBE_PAUSE:-30} seconds." >&2
    sleep "${SUBSCRIBE_PAUSE:-30}"
done
