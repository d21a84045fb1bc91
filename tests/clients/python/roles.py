"""Auth0's client for Python: roles, permissions, linked accounts and what else hangs on a user. Each test is a step."""

import os
import unittest

from auth0.management.errors import NotFoundError

from tenant import CONNECTION, CONNECTION_ID, Steps, create, tenant

connections, roles, users = tenant.connections, tenant.roles, tenant.users
API = os.environ["AUTH0_API"]


def permission(name):
    return {"permissions": [{"resource_server_identifier": API, "permission_name": name}]}


def names(permissions):
    return sorted(permission.permission_name for permission in permissions)


class Roles(Steps):
    def test_a_role_is_made_described_found_and_taken_away(self):
        role_id = roles.create(name="Python Guest", description="Looks").id
        roles.update(role_id, description="Listens")
        self.assertEqual(roles.get(role_id).description, "Listens")
        self.assertEqual([role.id for role in roles.list(name_filter="Python Guest")], [role_id])
        roles.delete(role_id)
        self.refused(NotFoundError, 404, None, roles.get, role_id)

    def test_a_role_is_given_to_users_who_are_listed_from_page_to_page(self):
        role_id = roles.create(name="Python Singer").id
        singers = [create(name).user_id for name in ("ula", "vic", "wes")]
        roles.users.assign(role_id, users=singers[:2])
        users.roles.assign(singers[2], roles=[role_id])
        listed = [user.user_id for user in roles.users.list(role_id, take=2)]
        self.assertEqual(sorted(listed), sorted(singers))
        users.roles.delete(singers[2], roles=[role_id])
        self.assertEqual(list(users.roles.list(singers[2])), [])
        self.assertEqual([role.name for role in users.roles.list(singers[0])], ["Python Singer"])

    def test_permissions_come_from_a_role_or_directly_and_must_be_defined(self):
        user_id = create("xenia").user_id
        role_id = roles.create(name="Python Reader").id
        roles.permissions.add(role_id, **permission("read:songs"))
        users.roles.assign(user_id, roles=[role_id])
        users.permissions.create(user_id, **permission("write:songs"))
        self.assertEqual(names(roles.permissions.list(role_id)), ["read:songs"])
        self.assertEqual(names(users.permissions.list(user_id)), ["read:songs", "write:songs"])
        users.permissions.delete(user_id, **permission("write:songs"))
        self.assertEqual(names(users.permissions.list(user_id)), ["read:songs"])
        code = "inexistent_resource_server_permission"
        self.refused(NotFoundError, 404, code, users.permissions.create, user_id, **permission("fly"))

    def test_an_account_is_linked_to_another_and_comes_back(self):
        primary, secondary = create("yan").user_id, create("yann").user_id
        identities = users.identities.link(primary, provider="auth0", user_id=secondary)
        self.assertEqual(len(identities), 2)
        self.refused(NotFoundError, 404, "inexistent_user", users.get, secondary)
        users.identities.delete(primary, "auth0", secondary.removeprefix("auth0|"))
        self.assertEqual(users.get(secondary).email, "yann@python.test")

    def test_a_connection_is_found_by_its_name(self):
        [found] = connections.list(name=CONNECTION)
        self.assertEqual(found.id, CONNECTION_ID)
        self.assertEqual(connections.get(CONNECTION_ID).name, CONNECTION)

    def test_a_user_who_never_came_has_no_session_no_refresh_token_and_no_block(self):
        user_id = create("zoe").user_id
        self.assertEqual(list(users.sessions.list(user_id)), [])
        self.assertEqual(list(users.refresh_token.list(user_id)), [])
        users.sessions.delete(user_id)
        users.revoke_access(user_id)
        self.assertEqual(tenant.user_blocks.list(user_id).blocked_for, [])
        tenant.user_blocks.delete(user_id)
        self.assertEqual([log for log in users.logs.list(user_id) if log.type == "s"], [])


if __name__ == "__main__":
    # The client leaves its connections to the collector, which warns of them.
    unittest.main(verbosity=2, warnings="ignore")
