const http = require('http');
const jwt = require('jsonwebtoken');

const SECRET = 'change-me-in-production';
const token = jwt.sign({
  sub: 'test-argo-user',
  email: 'test@platform.local',
  name: 'Argo Test User',
  groups: ['Platform-Admins'],
  roles: ['platform:admin', 'namespace:admin', 'user:authenticated'],
  tenant: 'default',
  iss: 'platform-api',
  aud: 'platform-users',
  iat: Math.floor(Date.now() / 1000),
  exp: Math.floor(Date.now() / 1000) + 86400
}, SECRET);

async function testArgoIntegration() {
  const testNamespace = `argo-test-${Date.now()}`.substring(0, 30);

  console.log('üß™ Testing Argo Workflows Integration');
  console.log(`üìù Creating namespace: ${testNamespace}`);

  const payload = {
    namespaceName: testNamespace,
    team: 'platform',
    environment: 'development',
    resourceTier: 'small',
    networkPolicy: 'team-shared',
    features: ['istio-injection', 'monitoring-enhanced'],
    description: 'Testing Argo Workflows integration'
  };

  try {
    const response = await makeRequest('POST', '/api/platform/namespaces/request', payload);

    if (response.status === 201) {
      console.log('‚úÖ Workflow submitted successfully!');
      console.log(`üìã Request ID: ${response.data.requestId}`);
      console.log(`üîÑ Workflow ID: ${response.data.workflowId}`);

      // Monitor workflow progress
      if (response.data.requestId) {
        console.log('\n‚è≥ Monitoring workflow progress...');
        await monitorWorkflow(response.data.requestId);
      }
    } else {
      console.log('‚ùå Failed to submit workflow');
      console.log(`Error: ${JSON.stringify(response.data, null, 2)}`);
    }
  } catch (error) {
    console.error('‚ùå Test failed:', error.message);
  }
}

async function monitorWorkflow(requestId) {
  for (let i = 0; i < 12; i++) { // Check for 2 minutes
    await new Promise(resolve => setTimeout(resolve, 10000)); // Wait 10 seconds

    const statusResponse = await makeRequest('GET', `/api/platform/namespaces/request/${requestId}/status`);

    if (statusResponse.status === 200) {
      const status = statusResponse.data.status;
      console.log(`   Check ${i + 1}: ${status}`);

      if (status === 'completed') {
        console.log('‚úÖ Workflow completed successfully!');
        break;
      } else if (status === 'failed') {
        console.log('‚ùå Workflow failed');
        console.log(`Error: ${statusResponse.data.error}`);
        break;
      }
    }
  }
}

function makeRequest(method, path, data = null) {
  return new Promise((resolve, reject) => {
    const options = {
      hostname: 'localhost',
      port: 3000,
      path: path,
      method: method,
      headers: {
        'Authorization': `Bearer ${token}`,
        'Content-Type': 'application/json'
      }
    };

    const req = http.request(options, (res) => {
      let body = '';
      res.on('data', (chunk) => body += chunk);
      res.on('end', () => {
        try {
          const jsonBody = JSON.parse(body);
          resolve({ status: res.statusCode, data: jsonBody });
        } catch (e) {
          resolve({ status: res.statusCode, data: body });
        }
      });
    });

    req.on('error', reject);

    if (data) {
      req.write(JSON.stringify(data));
    }
    req.end();
  });
}

testArgoIntegration();
