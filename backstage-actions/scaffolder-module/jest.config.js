/** Unit tests and the test against a real Backstage backend, in one run. */
// Packages that ship ECMAScript modules only, which jest does not load by itself.
const esmOnly =
  'https-proxy-agent|http-proxy-agent|agent-base|proxy-agent-negotiate|rettime|until-async|@open-draft/deferred-promise';

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
  // The scaffolder's own polling goes on after its backend has stopped.
  forceExit: true,
};
