// Alerts by mail. Each reads the log lines, the requests or the availability test of the app;
// docs/deploy.md says what to do.
param location string
param resourceToken string
param tags object
param insightsId string
param healthAddress string
param addresses array

// Application Insights may keep one item for several (sampling), so the items are not counted: their
// numbers are added.
var rules = [
  {
    name: 'rows-failed-9001'
    description: 'Rows failed five times and ended with message 9001, so they can be retried.'
    query: 'traces | where message startswith "chunk.poisoned"'
    severity: 1
    minutes: 5
    threshold: 0
  }
  {
    name: 'import-stalled'
    description: 'An import had no new result for 15 minutes; the sweep has sent its messages again.'
    query: 'traces | where message startswith "sweep.sent_again"'
    severity: 1
    minutes: 15
    threshold: 0
  }
  {
    name: 'import-with-failed-rows'
    description: 'An import has ended with failed rows. Its sender sees them; this is for operators of a pay-run.'
    query: 'traces | where message startswith "import.ended" and message !has "failed=0"'
    severity: 3
    minutes: 15
    threshold: 0
  }
  {
    name: 'drop-failed'
    description: 'Dropped files failed more than four times in half an hour: a file that fails five times waits for an operator.'
    query: 'traces | where message startswith "drop.failed" or message startswith "drop.not_processed"'
    severity: 1
    minutes: 30
    threshold: 4
  }
  {
    name: 'server-errors'
    description: 'More than five calls were answered with a status of 500 or more.'
    query: 'requests | where toint(resultCode) >= 500'
    severity: 1
    minutes: 5
    threshold: 5
  }
  {
    name: 'storage-unavailable'
    description: 'The health check could not write to storage.'
    query: 'traces | where message startswith "health.storage_unavailable"'
    severity: 0
    minutes: 5
    threshold: 0
  }
  {
    name: 'gateway-unavailable'
    description: 'Two or more calls of the health check from outside failed: the gateway or its storage does not answer.'
    query: 'availabilityResults | where toint(success) == 0'
    severity: 0
    minutes: 15
    threshold: 1
  }
]

// Calls the health check from outside, every five minutes from each of two regions. Flex Consumption
// has no health check of its own, so without this test nothing would call it.
var healthTest = 'health-${resourceToken}'

resource availability 'Microsoft.Insights/webtests@2022-06-15' = {
  name: healthTest
  location: location
  // Application Insights finds its tests by this tag.
  tags: union(tags, {
    'hidden-link:${insightsId}': 'Resource'
  })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: healthTest
    Name: healthTest
    Description: 'GET /api/health'
    Enabled: true
    Kind: 'standard'
    Frequency: 300
    Timeout: 30
    RetryEnabled: true
    Locations: [
      {
        Id: 'emea-nl-ams-azr'
      }
      {
        Id: 'us-va-ash-azr'
      }
    ]
    Request: {
      RequestUrl: healthAddress
      HttpVerb: 'GET'
      ParseDependentRequests: false
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      SSLCheck: true
      SSLCertRemainingLifetimeCheck: 7
    }
  }
}

resource mail 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-${resourceToken}'
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
  name: 'alert-${rule.name}-${resourceToken}'
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
          timeAggregation: 'Total'
          metricMeasureColumn: 'itemCount'
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
