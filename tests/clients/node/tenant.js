// The tenant that the environment names, and what every script does with it.
const assert = require("node:assert/strict");
const { ManagementClient, ManagementError } = require("auth0");

const {
    AUTH0_DOMAIN: domain,
    AUTH0_CLIENT_ID: clientId,
    AUTH0_CLIENT_SECRET: clientSecret,
    AUTH0_CONNECTION: connection,
    AUTH0_CONNECTION_ID: connectionId,
} = process.env;

const tenant = new ManagementClient({ domain, clientId, clientSecret });
const password = "Correct-horse-1";

const create = (name, more = {}) =>
    tenant.users.create({ connection, email: `${name}@node.test`, password, verify_email: false, ...more });

// The error's class, status and code; Auth0's body says the last two again.
const refused = (call, kind, statusCode, errorCode) =>
    assert.rejects(call, (error) => {
        assert.ok(error instanceof kind, String(error));
        assert.ok(error instanceof ManagementError);
        assert.equal(error.statusCode, statusCode);
        assert.equal(error.body.statusCode, statusCode);
        assert.equal(error.body.errorCode, errorCode);
        assert.ok(error.body.message);
        return true;
    });

module.exports = { clientId, clientSecret, connection, connectionId, create, domain, password, refused, tenant };
