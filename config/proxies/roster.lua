-- HAProxy's question to Roster: http-request lua.roster ADDRESS
--
-- Sets txn.roster_status and txn.roster_challenge, and on 200 the headers that say who the user is.
-- Whatever goes wrong in here leaves the status unset, which haproxy.cfg takes for no.

local IDENTITY = { "x-roster-user", "x-roster-email", "x-roster-role", "x-roster-permissions" }
local ASKED_WITH = { "authorization", "x-roster-at-least" }

-- HAProxy counts the values of a header from 0.
local function first(headers, name)
    return headers and headers[name] and headers[name][0]
end

local function ask(txn, address)
    local client, question = txn.http:req_get_headers(), {}
    for _, name in ipairs(ASKED_WITH) do
        if first(client, name) then
            question[name] = { first(client, name) }
        end
    end

    local answer = core.httpclient():get({ url = address, headers = question, timeout = 3000 })
    if answer.status == 200 then
        for _, name in ipairs(IDENTITY) do
            txn.http:req_set_header(name, first(answer.headers, name) or "")
        end
    end
    txn:set_var("txn.roster_challenge", first(answer.headers, "www-authenticate") or "Bearer")
    txn:set_var("txn.roster_status", tostring(answer.status))
end

core.register_action("roster", { "http-req" }, ask, 1)
