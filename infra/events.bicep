// Event Grid calls the app for each new file of a drop container. The address has a key of the app,
// which exists once the app is deployed; so the hook `postdeploy` of azure.yaml deploys this file.
param functionAppName string
param systemTopicName string

// The container and the function of each blob trigger of the app.
var drops = [
  {
    container: 'document-drop'
    function: 'documents_drop'
  }
  {
    container: 'row-drop'
    function: 'row_drops'
  }
]
// A file is there when one of these operations has ended. SFTP and Data Lake create a blob first and
// write to it later, and tell of its creation too, so these events alone say that it is whole.
var finishedBy = [
  'PutBlob'
  'PutBlockList'
  'CopyBlob'
  'FlushWithClose'
  'SftpCommit'
]

resource app 'Microsoft.Web/sites@2024-04-01' existing = {
  name: functionAppName
}

resource systemTopic 'Microsoft.EventGrid/systemTopics@2022-06-15' existing = {
  name: systemTopicName
}

resource subscriptions 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2022-06-15' = [for drop in drops: {
  parent: systemTopic
  name: drop.container
  properties: {
    destination: {
      endpointType: 'WebHook'
      properties: {
        endpointUrl: 'https://${app.properties.defaultHostName}/runtime/webhooks/blobs?functionName=Host.Functions.${drop.function}&code=${listKeys('${app.id}/host/default', '2024-04-01').systemKeys.blobs_extension}'
        maxEventsPerBatch: 1
      }
    }
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: [
        'Microsoft.Storage.BlobCreated'
      ]
      subjectBeginsWith: '/blobServices/default/containers/${drop.container}/'
      advancedFilters: [
        {
          operatorType: 'StringIn'
          key: 'data.api'
          values: finishedBy
        }
      ]
    }
    // An event that is lost all the same is made up for by the sweep of the app.
    retryPolicy: {
      eventTimeToLiveInMinutes: 1440
      maxDeliveryAttempts: 30
    }
  }
}]
