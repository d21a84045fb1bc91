// Auth0's client for Node, current version: users, searches, tokens and what is refused. Each test is a step of its own.
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Management, ManagementClient, ManagementError } = require("auth0");
const { clientId, clientSecret, connection, create, domain, password, refused, tenant } = require("./tenant.js");

const { AUTH0_FREE_DOMAIN: freeDomain, AUTH0_READER_TOKEN: readerToken, AUTH0_EXPIRED_TOKEN: expiredToken } =
    process.env;
const { users } = tenant;

test("a new user has the id that was chosen and the defaults Auth0 fills in", async () => {
    const user = await create("Ann", { user_id: "node-ann", app_metadata: { role: "Artist" } });
    assert.equal(user.user_id, "auth0|node-ann");
    assert.equal(user.email, "ann@node.test");
    assert.equal(user.email_verified, false);
    assert.equal(user.name, "ann@node.test");
    assert.deepEqual(user.app_metadata, { role: "Artist" });
    assert.equal(user.identities[0].connection, connection);
    assert.ok(Date.parse(user.created_at) <= Date.now() + 60_000);
});

test("a user is read whole or with the fields that were asked for", async () => {
    const { user_id } = await create("ben", { name: "Ben" });
    assert.equal((await users.get(user_id)).email, "ben@node.test");
    assert.deepEqual(await users.get(user_id, { fields: "name,user_id", include_fields: true }), {
        name: "Ben",
        user_id,
    });
    assert.equal((await users.get(user_id, { fields: "name", include_fields: false })).name, undefined);
});

test("a change keeps the metadata it does not name and takes out what is null", async () => {
    const { user_id } = await create("cleo", { app_metadata: { role: "Artist", plan: "gold", old: 1 } });
    const user = await users.update(user_id, { name: "Cleo", app_metadata: { role: "Editor", old: null } });
    assert.equal(user.name, "Cleo");
    assert.deepEqual(user.app_metadata, { role: "Editor", plan: "gold" });
});

test("an address is changed and the user found by it in lower case alone", async () => {
    const { user_id } = await create("dan");
    await users.update(user_id, { email: "Daniel@node.test", email_verified: false, verify_email: false });
    const found = await users.listUsersByEmail({ email: "daniel@node.test" });
    assert.deepEqual(found.map((user) => user.user_id), [user_id]);
    assert.deepEqual(await users.listUsersByEmail({ email: "Daniel@node.test" }), []);
    assert.deepEqual(await users.listUsersByEmail({ email: "dan@node.test" }), []);
});

test("a user is blocked and let in again", async () => {
    const { user_id, blocked } = await create("eve");
    assert.equal(blocked, undefined);
    assert.equal((await users.update(user_id, { blocked: true })).blocked, true);
    assert.equal((await users.update(user_id, { blocked: false })).blocked, false);
});

test("a deleted user is gone, and deleting again is no error", async () => {
    const { user_id } = await create("fay");
    await users.delete(user_id);
    await users.delete(user_id);
    await refused(users.get(user_id), Management.NotFoundError, 404, "inexistent_user");
});

test("pages follow one another until every user was seen once", async () => {
    for (let i = 0; i < 7; i += 1) await create(`page-${i}`, { name: "Node Page" });
    const page = await users.list({ q: 'name:"Node Page"', search_engine: "v3", per_page: 3 });
    assert.equal(page.response.total, 7);
    assert.equal(page.response.limit, 3);
    const seen = [];
    for await (const user of page) seen.push(user.email);
    assert.deepEqual(seen.sort(), [0, 1, 2, 3, 4, 5, 6].map((i) => `page-${i}@node.test`));
});

test("a search combines fields, ranges and metadata, and sorts what it finds", async () => {
    const band = { nora: ["Drummer", "jazz"], otto: ["Singer", "jazz"], pia: ["Singer", "folk"] };
    for (const [name, [role, style]] of Object.entries(band))
        await create(name, { name, app_metadata: { role }, user_metadata: { likes: { style } } });
    const names = async (q, sort) => {
        const page = await users.list({ q, sort, search_engine: "v3", fields: "name", include_fields: true });
        return page.data.map((user) => user.name);
    };
    const jazz = 'user_metadata.likes.style:"jazz" AND created_at:[2020-01-01 TO *}';
    assert.deepEqual(await names(`app_metadata.role:"Singer" AND ${jazz}`), ["otto"]);
    assert.deepEqual(await names('app_metadata.role:("Singer" OR "Drummer")', "name:-1"), ["pia", "otto", "nora"]);
    assert.deepEqual(await names('NOT email:*@node.test'), []);
});

test("a search finds by address, and nobody pages beyond a thousand", async () => {
    const { user_id } = await create("gil");
    const { data } = await users.list({ q: "email:gil@node.test", search_engine: "v3" });
    assert.deepEqual(data.map((user) => user.user_id), [user_id]);
    await refused(users.list({ page: 20, per_page: 50 }), Management.BadRequestError, 400, "invalid_paging");
});

test("a body that does not fit the schema is refused", async () => {
    await refused(create("hal", { email: "no address" }), Management.BadRequestError, 400, "invalid_body");
    await refused(create("hal", { shoe_size: 43 }), Management.BadRequestError, 400, "invalid_body");
    await refused(users.get("no-id"), Management.BadRequestError, 400, "invalid_uri");
});

test("an address that is taken is refused to a new user and to a change", async () => {
    const { user_id } = await create("ida");
    await create("jan");
    await refused(create("jan"), Management.ConflictError, 409, "auth0_idp_error");
    const change = { email: "jan@node.test", email_verified: true };
    await refused(users.update(user_id, change), Management.BadRequestError, 400, "auth0_idp_error");
});

test("a token that has expired and one that is none are refused", async () => {
    for (const token of [expiredToken, "no token"]) {
        const stranger = new ManagementClient({ domain, token });
        await refused(stranger.users.list(), Management.UnauthorizedError, 401, undefined);
    }
});

test("a token without the scope may read but not write", async () => {
    const { user_id } = await create("kim");
    const reader = new ManagementClient({ domain, token: readerToken });
    assert.equal((await reader.users.get(user_id)).user_id, user_id);
    await refused(reader.users.delete(user_id), Management.ForbiddenError, 403, "insufficient_scope");
});

test("a wrong secret and a wrong audience get no token", async () => {
    const refuses = async (options, statusCode) => {
        const stranger = new ManagementClient({ domain, clientId, clientSecret, ...options });
        await assert.rejects(stranger.users.list(), (error) => {
            assert.ok(error instanceof ManagementError, String(error));
            assert.equal(error.statusCode, statusCode);
            assert.equal(error.body.error, "access_denied");
            return true;
        });
    };
    await refuses({ clientSecret: "wrong" }, 401);
    await refuses({ audience: "https://elsewhere.test/" }, 403);
});

test("one token serves a client for many calls", async () => {
    const other = new ManagementClient({ domain, clientId, clientSecret });
    await Promise.all([other.users.list(), other.users.list()]);
    await other.users.list();
});

// How often the free tenant says so is up to the test that runs this script; a client asks three times.
test("a client that is told to wait waits and comes through", async () => {
    const free = new ManagementClient({ domain: freeDomain, clientId, clientSecret });
    for (let i = 0; i < 4; i += 1) {
        const email = `free-${i}@node.test`;
        await free.users.create({ connection, email, password, verify_email: false });
    }
});

test("a client that is told to wait once more than it asks gives up and says what it was told", async () => {
    const free = new ManagementClient({ domain: freeDomain, clientId, clientSecret });
    const { reason } = (await Promise.allSettled([free.users.list()]))[0];
    await refused(Promise.reject(reason), Management.TooManyRequestsError, 429, "too_many_requests");
    const { headers } = reason.rawResponse;
    assert.equal(headers.get("x-ratelimit-limit"), "2");
    assert.equal(headers.get("x-ratelimit-remaining"), "0");
    assert.ok(Number(headers.get("x-ratelimit-reset")) > 1_500_000_000);
});
