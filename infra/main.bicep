// The gateway in a resource group of its own: `azd up` deploys this file (docs/deploy.md).
targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Name of the environment, as azd asks for it. All names of resources are derived from it.')
param environmentName string

@minLength(1)
@description('Azure region of all resources. It must offer the Flex Consumption plan.')
param location string

@description('Object id of the person or pipeline that deploys. A person gets roles on the data and the keys, a pipeline does not.')
param principalId string = ''

@allowed(['User', 'ServicePrincipal'])
@description('What principalId is: a person, or the identity of a pipeline.')
param principalType string = 'User'

@description('Mail addresses that get the alerts, separated by commas; empty: no alerts are sent.')
param alertAddresses string = ''

@description('Whether senders may drop files by SFTP. The storage account then has a hierarchical namespace, which can only be chosen when it is created.')
param sftpEnabled bool = false

@minValue(40)
@maxValue(1000)
@description('The most instances of the function app: the limit of its costs.')
param maximumInstances int = 40

@description('Whether the gateway makes traces and metrics. The deployed requirements.txt must then be requirements-telemetry.txt.')
param telemetry bool = false

@description('Application settings besides those that this deployment makes (docs/settings.md), by name.')
param extraSettings object = {}

var tags = {
  'azd-env-name': environmentName
}

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module gateway 'gateway.bicep' = {
  name: 'gateway'
  scope: group
  params: {
    location: location
    resourceToken: toLower(uniqueString(subscription().id, environmentName, location))
    tags: tags
    principalId: principalId
    principalType: principalType
    alertAddresses: alertAddresses
    sftpEnabled: sftpEnabled
    maximumInstances: maximumInstances
    telemetry: telemetry
    extraSettings: extraSettings
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = gateway.outputs.functionAppName
output GATEWAY_URL string = gateway.outputs.url
output KEY_VAULT_NAME string = gateway.outputs.keyVaultName
output STORAGE_ACCOUNT_NAME string = gateway.outputs.storageAccountName
output SYSTEM_TOPIC_NAME string = gateway.outputs.systemTopicName
