// Auth0's client for Node, current version: roles, permissions, linked accounts and what else hangs on a user. Each test is
// a step of its own.
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Management } = require("auth0");
const { connection, connectionId, create, refused, tenant } = require("./tenant.js");

const { connections, roles, userBlocks, users } = tenant;
const api = process.env.AUTH0_API;
const permission = (name) => ({ permissions: [{ resource_server_identifier: api, permission_name: name }] });

const all = async (page) => {
    const items = [];
    for await (const item of await page) items.push(item);
    return items;
};

test("a role is made, described, found and taken away", async () => {
    const { id } = await roles.create({ name: "Node Guest", description: "Looks" });
    await roles.update(id, { description: "Listens" });
    assert.equal((await roles.get(id)).description, "Listens");
    const found = await all(roles.list({ name_filter: "Node Guest" }));
    assert.deepEqual(found.map((role) => role.id), [id]);
    await roles.delete(id);
    await refused(roles.get(id), Management.NotFoundError, 404, undefined);
});

test("a role is given to users, who are listed from page to page", async () => {
    const { id } = await roles.create({ name: "Node Singer" });
    const singers = [];
    for (const name of ["ula", "vic", "wes"]) singers.push((await create(name)).user_id);
    await roles.users.assign(id, { users: singers.slice(0, 2) });
    await users.roles.assign(singers[2], { roles: [id] });
    const listed = await all(roles.users.list(id, { take: 2 }));
    assert.deepEqual(listed.map((user) => user.user_id).sort(), [...singers].sort());
    await users.roles.delete(singers[2], { roles: [id] });
    assert.deepEqual(await all(users.roles.list(singers[2])), []);
    assert.deepEqual((await all(users.roles.list(singers[0]))).map((role) => role.name), ["Node Singer"]);
});

test("permissions come from a role or directly, and must be defined", async () => {
    const { user_id } = await create("xenia");
    const { id } = await roles.create({ name: "Node Reader" });
    await roles.permissions.add(id, permission("read:songs"));
    await users.roles.assign(user_id, { roles: [id] });
    await users.permissions.create(user_id, permission("write:songs"));
    const names = (list) => list.map(({ permission_name: name }) => name).sort();
    assert.deepEqual(names(await all(roles.permissions.list(id))), ["read:songs"]);
    assert.deepEqual(names(await all(users.permissions.list(user_id))), ["read:songs", "write:songs"]);
    await users.permissions.delete(user_id, permission("write:songs"));
    assert.deepEqual(names(await all(users.permissions.list(user_id))), ["read:songs"]);
    const unknown = users.permissions.create(user_id, permission("fly"));
    await refused(unknown, Management.NotFoundError, 404, "inexistent_resource_server_permission");
});

test("an account is linked to another and comes back", async () => {
    const [primary, secondary] = [await create("yan"), await create("yann")];
    const link = { provider: "auth0", user_id: secondary.user_id };
    const identities = await users.identities.link(primary.user_id, link);
    assert.equal(identities.length, 2);
    await refused(users.get(secondary.user_id), Management.NotFoundError, 404, "inexistent_user");
    const bare = secondary.user_id.replace("auth0|", "");
    assert.equal((await users.identities.delete(primary.user_id, "auth0", bare)).length, 1);
    assert.equal((await users.get(secondary.user_id)).email, "yann@node.test");
});

test("a connection is found by its name", async () => {
    const [found, ...others] = await all(connections.list({ name: connection }));
    assert.equal(found.id, connectionId);
    assert.deepEqual(others, []);
    assert.equal((await connections.get(connectionId)).name, connection);
});

test("a user who never came has no session, no refresh token and no block", async () => {
    const { user_id } = await create("zoe");
    assert.deepEqual(await all(users.sessions.list(user_id)), []);
    assert.deepEqual(await all(users.refreshToken.list(user_id)), []);
    await users.sessions.delete(user_id);
    await users.revokeAccess(user_id);
    assert.deepEqual((await userBlocks.list(user_id)).blocked_for, []);
    await userBlocks.delete(user_id);
    assert.deepEqual((await all(users.logs.list(user_id))).filter((log) => log.type === "s"), []);
});
