#!/bin/sh
# Subscribe the deployed app to new files in the drop containers. Repeating it changes nothing.
set -eu

az deployment group create --resource-group "$AZURE_RESOURCE_GROUP" --name drop-events \
    --template-file infra/events.bicep --output none \
    --parameters functionAppName="$FUNCTION_APP_NAME" systemTopicName="$SYSTEM_TOPIC_NAME"
