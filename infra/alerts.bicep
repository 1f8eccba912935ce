// Alerts by mail. Each reads the log lines or the requests of the app; docs/deploy.md says what to do.
param location string
param token string
param tags object
param insightsId string
param addresses array

var rules = [
  {
    name: 'rows-gave-up'
    description: 'Rows failed five times and ended with message 9001, so they can be retried.'
    query: 'traces | where message startswith "chunk.poisoned"'
    severity: 1
    minutes: 5
    threshold: 0
  }
  {
    name: 'import-waits'
    description: 'An import had no new result for 15 minutes; the sweep has sent its messages again.'
    query: 'traces | where message startswith "sweep.sent_again"'
    severity: 1
    minutes: 15
    threshold: 0
  }
  {
    name: 'import-with-failed-rows'
    description: 'An import has ended with failed rows. Its sender sees them; this is for who watches a pay-run.'
    query: 'traces | where message startswith "import.ended" and message !has "failed=0"'
    severity: 3
    minutes: 15
    threshold: 0
  }
  {
    name: 'server-errors'
    description: 'Calls were answered with a status of 500 or more.'
    query: 'requests | where toint(resultCode) >= 500'
    severity: 1
    minutes: 5
    threshold: 5
  }
  {
    name: 'storage-away'
    description: 'The health check could not write to storage.'
    query: 'traces | where message startswith "health.storage_away"'
    severity: 0
    minutes: 5
    threshold: 0
  }
]

resource mail 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-${token}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'gateway'
    emailReceivers: [for (address, i) in addresses: {
      name: 'receiver-${i}'
      emailAddress: trim(address)
      useCommonAlertSchema: true
    }]
  }
}

resource queryRules 'Microsoft.Insights/scheduledQueryRules@2021-08-01' = [for rule in rules: {
  name: 'alert-${rule.name}-${token}'
  location: location
  tags: tags
  properties: {
    displayName: rule.name
    description: rule.description
    enabled: true
    severity: rule.severity
    evaluationFrequency: 'PT${rule.minutes}M'
    windowSize: 'PT${rule.minutes}M'
    scopes: [
      insightsId
    ]
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: rule.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        mail.id
      ]
    }
  }
}]
