// The client for Node as it was up to version 4, which version 7 brings along and many programs still use.
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ManagementApiError, ManagementClient } = require("auth0/legacy");

const {
    AUTH0_DOMAIN: domain,
    AUTH0_CLIENT_ID: clientId,
    AUTH0_CLIENT_SECRET: clientSecret,
    AUTH0_CONNECTION: connection,
    AUTH0_READER_TOKEN: readerToken,
    AUTH0_EXPIRED_TOKEN: expiredToken,
} = process.env;

const { users, usersByEmail } = new ManagementClient({ domain, clientId, clientSecret });
const password = "Correct-horse-1";

const create = async (name, more = {}) => {
    const body = { connection, email: `${name}@legacy.test`, password, verify_email: false, ...more };
    return (await users.create(body)).data;
};

const refused = (call, statusCode, errorCode) =>
    assert.rejects(call, (error) => {
        assert.ok(error instanceof ManagementApiError, String(error));
        assert.equal(error.statusCode, statusCode);
        assert.equal(error.errorCode, errorCode);
        return true;
    });

test("a user is made, read, changed and deleted", async () => {
    const { user_id: id } = await create("ann", { user_id: "legacy-ann", app_metadata: { role: "Artist", old: 1 } });
    assert.equal(id, "auth0|legacy-ann");
    const change = { name: "Ann", blocked: true, app_metadata: { old: null } };
    const { status, data: changed } = await users.update({ id }, change);
    assert.equal(status, 200);
    assert.deepEqual((await users.get({ id })).data, changed);
    assert.equal(changed.blocked, true);
    assert.deepEqual(changed.app_metadata, { role: "Artist" });
    assert.equal((await users.delete({ id })).status, 204);
    await refused(users.get({ id }), 404, "inexistent_user");
});

test("users are listed by page, counted, and found by address", async () => {
    for (let i = 0; i < 3; i += 1) await create(`page-${i}`, { name: "Legacy Page" });
    const { data } = await users.getAll({ q: 'name:"Legacy Page"', page: 1, per_page: 2, include_totals: true });
    assert.deepEqual([data.total, data.start, data.length, data.users.length], [3, 2, 1, 1]);
    const found = await usersByEmail.getByEmail({ email: "page-2@legacy.test" });
    assert.equal(found.data.length, 1);
});

test("what is wrong is refused with Auth0's codes", async () => {
    const { user_id: id } = await create("ida");
    await refused(create("ida"), 409, "auth0_idp_error");
    await refused(create("jan", { shoe_size: 43 }), 400, "invalid_body");
    const reader = new ManagementClient({ domain, token: readerToken });
    await refused(reader.users.delete({ id }), 403, "insufficient_scope");
    const late = new ManagementClient({ domain, token: expiredToken });
    await refused(late.users.get({ id }), 401, undefined);
});
