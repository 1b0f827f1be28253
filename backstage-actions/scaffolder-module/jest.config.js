/** Unit tests and the test against a real Backstage backend, in one run. */
const esmOnly = 'https-proxy-agent|http-proxy-agent|agent-base|proxy-agent-negotiate|rettime|until-async|@open-draft/deferred-promise';

module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/src'],
  transform: {
    '^.+\\.m?[tj]s$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } } },
    ],
  },
  transformIgnorePatterns: [`/node_modules/(?!(${esmOnly})/)`],
  testTimeout: 20_000,
};
