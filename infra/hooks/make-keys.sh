#!/bin/sh
# Make the keys of the gateway in the vault, each once. A key that is there stays as it is: what was
# sealed or hashed under it needs it.
set -eu

if [ "${AZURE_PRINCIPAL_TYPE:-User}" != User ]; then
    echo "The keys are made by a person: this identity has no role on $KEY_VAULT_NAME (docs/deploy.md)."
    exit 0
fi

# A role that was assigned a moment ago takes some minutes to count, so a refusal is tried again.
tries=${KEY_TRIES:-20}
while ! names=$(az keyvault secret list --vault-name "$KEY_VAULT_NAME" --query "[].name" --output tsv); do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        echo "$KEY_VAULT_NAME does not answer, or you have no role on it: run azd provision again." >&2
        exit 1
    fi
    echo "$KEY_VAULT_NAME does not answer yet; trying again in ${KEY_PAUSE:-15} seconds." >&2
    sleep "${KEY_PAUSE:-15}"
done
deleted=$(az keyvault secret list-deleted --vault-name "$KEY_VAULT_NAME" --query "[].name" --output tsv)
for name in data-keys authdata-keys; do
    if printf '%s\n' "$names" | grep -qx "$name"; then
        continue
    fi
    if printf '%s\n' "$deleted" | grep -qx "$name"; then
        echo "The secret $name of $KEY_VAULT_NAME was deleted. Recover it: a new key does not open" >&2
        echo "what was sealed under it:" >&2
        echo "az keyvault secret recover --vault-name $KEY_VAULT_NAME --name $name" >&2
        exit 1
    fi
    # From a file, so that the key is in no command line that other users of the machine could see.
    file=$(mktemp)
    trap 'rm -f "$file"' EXIT
    python3 -c "import base64, secrets; print('1:' + base64.b64encode(secrets.token_bytes(32)).decode(), end='')" > "$file"
    az keyvault secret set --vault-name "$KEY_VAULT_NAME" --name "$name" --file "$file" --output none
    rm -f "$file"
    echo "Made the secret $name. Keep a copy apart from the backups of storage (docs/sealing.md)."
done
