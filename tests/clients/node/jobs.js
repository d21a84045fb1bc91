// Auth0's client for Node, current version: imports, exports, verification mails and tickets. Each test is a step of its own.
const assert = require("node:assert/strict");
const { setTimeout: pause } = require("node:timers/promises");
const { test } = require("node:test");
const { gunzipSync } = require("node:zlib");
const { Management } = require("auth0");
const { connectionId, create, refused, tenant } = require("./tenant.js");

const { jobs, tickets, users } = tenant;

// As Auth0's documentation says: ask for the job until it is done.
const done = async ({ id }) => {
    for (;;) {
        const job = await jobs.get(id);
        if (["completed", "failed"].includes(job.status)) return job;
        await pause(50);
    }
};

const send = (records, more = {}) => {
    const file = new Blob([JSON.stringify(records)], { type: "application/json" });
    const request = { users: file, connection_id: connectionId, send_completion_email: false, ...more };
    return jobs.usersImports.create(request);
};

const exported = async (request) => {
    const job = await done(await jobs.usersExports.create({ connection_id: connectionId, ...request }));
    assert.equal(job.status, "completed");
    const answer = await fetch(job.location);
    assert.equal(answer.status, 200);
    const text = gunzipSync(Buffer.from(await answer.arrayBuffer())).toString();
    return text.trimEnd().split("\n");
};

test("a file of users is imported and the job says how many", async () => {
    const records = [{ email: "Lea@node.test", user_id: "node-lea", blocked: true }, { email: "mia@node.test" }];
    const begun = await send(records, { external_id: "first" });
    assert.deepEqual([begun.type, begun.status, begun.external_id], ["users_import", "pending", "first"]);
    const job = await done(begun);
    assert.deepEqual(job.summary, { failed: 0, updated: 0, inserted: 2, total: 2 });
    assert.equal((await users.get("auth0|node-lea")).blocked, true);
    assert.equal(await jobs.errors.get(job.id), undefined);
});

test("a record that is there already fails unless it may be updated", async () => {
    await create("nia", { app_metadata: { role: "Artist", plan: "gold" } });
    const records = [{ email: "nia@node.test", app_metadata: { role: "Editor" } }];
    const refusal = await done(await send(records));
    assert.equal(refusal.summary.failed, 1);
    const [failed] = await jobs.errors.get(refusal.id);
    assert.equal(failed.user.email, "nia@node.test");
    assert.equal(failed.errors[0].code, "DUPLICATED_USER");
    const update = await done(await send(records, { upsert: true }));
    assert.equal(update.summary.updated, 1);
    const [nia] = await users.listUsersByEmail({ email: "nia@node.test" });
    assert.deepEqual(nia.app_metadata, { role: "Editor" });
});

test("an import into no connection and a job nobody knows are refused", async () => {
    await refused(send([], { connection_id: "con_none" }), Management.BadRequestError, 400, "invalid_body");
    await refused(jobs.get("job_0000000000000001"), Management.NotFoundError, 404, undefined);
});

test("an export has a line of JSON for each user", async () => {
    const { user_id } = await create("ola", { app_metadata: { role: "Artist" } });
    const fields = [{ name: "user_id" }, { name: "app_metadata.role", export_as: "role" }];
    const lines = await exported({ format: "json", fields });
    const found = lines.map((line) => JSON.parse(line)).filter((user) => user.user_id === user_id);
    assert.deepEqual(found, [{ user_id, role: "Artist" }]);
    assert.equal((await exported({ format: "json", limit: 1 })).length, 1);
});

test("an export may be a table", async () => {
    await create("pam");
    const [head, ...rows] = await exported({ format: "csv", fields: [{ name: "email", export_as: "Mail" }] });
    assert.equal(head, "Mail");
    assert.ok(rows.some((row) => row.includes("pam@node.test")));
});

test("a verification mail is sent by a job", async () => {
    const { user_id } = await create("quin");
    const begun = await jobs.verificationEmail.create({ user_id });
    assert.equal(begun.type, "verification_email");
    assert.equal((await done(begun)).status, "completed");
});

test("a ticket opens the page that sets a password", async () => {
    const { user_id } = await create("rosa");
    const request = { user_id, ttl_sec: 60, mark_email_as_verified: true };
    const { ticket } = await tickets.changePassword(request);
    assert.equal((await fetch(ticket)).status, 200);
    const chosen = new URLSearchParams({ password: "Another-horse-2" });
    assert.equal((await fetch(ticket, { method: "POST", body: chosen })).status, 200);
    assert.equal((await users.get(user_id)).email_verified, true);
});

test("a ticket verifies an address", async () => {
    const { user_id } = await create("sue");
    const { ticket } = await tickets.verifyEmail({ user_id });
    await fetch(ticket);
    assert.equal((await users.get(user_id)).email_verified, true);
});

test("nobody gets a ticket for a user who does not exist", async () => {
    const request = { user_id: "auth0|nobody" };
    await refused(tickets.changePassword(request), Management.NotFoundError, 404, "inexistent_user");
});
