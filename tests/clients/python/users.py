"""Auth0's client for Python: users, searches, tokens and what is refused. Each test is a step of its own."""

import os
import unittest

import httpx
from auth0.authentication import GetToken
from auth0.authentication.exceptions import Auth0Error
from auth0.management import ManagementClient
from auth0.management.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    TooManyRequestsError,
    UnauthorizedError,
)

from tenant import CLIENT, CONNECTION, DOMAIN, PASSWORD, Steps, create, tenant

FREE_DOMAIN = os.environ["AUTH0_FREE_DOMAIN"]
users = tenant.users


class Users(Steps):
    def test_a_new_user_has_the_id_that_was_chosen_and_the_defaults_auth0_fills_in(self):
        user = create("Ann", user_id="python-ann", app_metadata={"role": "Artist"})
        self.assertEqual(user.user_id, "auth0|python-ann")
        self.assertEqual((user.email, user.name), ("ann@python.test", "ann@python.test"))
        self.assertIs(user.email_verified, False)
        self.assertEqual(user.app_metadata, {"role": "Artist"})
        self.assertEqual(user.identities[0].connection, CONNECTION)

    def test_a_user_is_read_whole_or_with_the_fields_that_were_asked_for(self):
        user_id = create("ben", name="Ben").user_id
        self.assertEqual(users.get(user_id).email, "ben@python.test")
        part = users.get(user_id, fields="name,user_id", include_fields=True)
        self.assertEqual(part.model_dump(exclude_none=True), {"name": "Ben", "user_id": user_id})
        self.assertIsNone(users.get(user_id, fields="name", include_fields=False).name)

    def test_a_change_keeps_the_metadata_it_does_not_name_and_takes_out_what_is_null(self):
        user_id = create("cleo", app_metadata={"role": "Artist", "plan": "gold", "old": 1}).user_id
        user = users.update(user_id, name="Cleo", app_metadata={"role": "Editor", "old": None})
        self.assertEqual(user.name, "Cleo")
        self.assertEqual(user.app_metadata, {"role": "Editor", "plan": "gold"})

    def test_an_address_is_changed_and_the_user_found_by_it_in_lower_case_alone(self):
        user_id = create("dan").user_id
        users.update(user_id, email="Daniel@python.test", email_verified=False, verify_email=False)
        found = users.list_users_by_email(email="daniel@python.test")
        self.assertEqual([user.user_id for user in found], [user_id])
        self.assertEqual(users.list_users_by_email(email="Daniel@python.test"), [])
        self.assertEqual(users.list_users_by_email(email="dan@python.test"), [])

    def test_a_user_is_blocked_and_let_in_again(self):
        user = create("eve")
        self.assertIsNone(user.blocked)
        self.assertIs(users.update(user.user_id, blocked=True).blocked, True)
        self.assertIs(users.update(user.user_id, blocked=False).blocked, False)

    def test_a_deleted_user_is_gone_and_deleting_again_is_no_error(self):
        user_id = create("fay").user_id
        users.delete(user_id)
        users.delete(user_id)
        self.refused(NotFoundError, 404, "inexistent_user", users.get, user_id)

    def test_pages_follow_one_another_until_every_user_was_seen_once(self):
        for i in range(7):
            create(f"page-{i}", name="Python Page")
        pager = users.list(q='name:"Python Page"', search_engine="v3", per_page=3)
        self.assertEqual((pager.response.total, pager.response.limit), (7, 3))
        seen = sorted(user.email for user in pager)
        self.assertEqual(seen, [f"page-{i}@python.test" for i in range(7)])

    def test_a_search_combines_fields_ranges_and_metadata_and_sorts_what_it_finds(self):
        band = {"nora": ("Drummer", "jazz"), "otto": ("Singer", "jazz"), "pia": ("Singer", "folk")}
        for name, (role, style) in band.items():
            create(name, name=name, app_metadata={"role": role}, user_metadata={"likes": {"style": style}})

        def names(q, sort=None):
            found = users.list(q=q, sort=sort, search_engine="v3", fields="name", include_fields=True)
            return [user.name for user in found]

        jazz = 'user_metadata.likes.style:"jazz" AND created_at:[2020-01-01 TO *}'
        self.assertEqual(names(f'app_metadata.role:"Singer" AND {jazz}'), ["otto"])
        both = 'app_metadata.role:("Singer" OR "Drummer")'
        self.assertEqual(names(both, "name:-1"), ["pia", "otto", "nora"])
        self.assertEqual(names("NOT email:*@python.test"), [])

    def test_a_search_finds_by_address_and_nobody_pages_beyond_a_thousand(self):
        user_id = create("gil").user_id
        found = users.list(q="email:gil@python.test", search_engine="v3")
        self.assertEqual([user.user_id for user in found], [user_id])
        self.refused(BadRequestError, 400, "invalid_paging", users.list, page=20, per_page=50)

    def test_a_body_that_does_not_fit_the_schema_is_refused(self):
        self.refused(BadRequestError, 400, "invalid_body", create, "hal", email="no address")
        self.refused(BadRequestError, 400, "invalid_body", create, "hal", given_name="")
        self.refused(BadRequestError, 400, "invalid_uri", users.get, "no-id")

    def test_an_address_that_is_taken_is_refused_to_a_new_user_and_to_a_change(self):
        user_id = create("ida").user_id
        create("jan")
        self.refused(ConflictError, 409, "auth0_idp_error", create, "jan")
        change = {"email": "jan@python.test", "email_verified": True}
        self.refused(BadRequestError, 400, "auth0_idp_error", users.update, user_id, **change)

    def test_a_token_that_has_expired_and_one_that_is_none_are_refused(self):
        for token in (os.environ["AUTH0_EXPIRED_TOKEN"], "no token"):
            stranger = ManagementClient(domain=DOMAIN, token=token)
            self.refused(UnauthorizedError, 401, None, stranger.users.list)

    def test_a_token_without_the_scope_may_read_but_not_write(self):
        user_id = create("kim").user_id
        reader = ManagementClient(domain=DOMAIN, token=os.environ["AUTH0_READER_TOKEN"])
        self.assertEqual(reader.users.get(user_id).user_id, user_id)
        self.refused(ForbiddenError, 403, "insufficient_scope", reader.users.delete, user_id)

    def test_a_wrong_secret_and_a_wrong_audience_get_no_token(self):
        stranger = ManagementClient(domain=DOMAIN, client_id=CLIENT["client_id"], client_secret="wrong")
        with self.assertRaises(httpx.HTTPStatusError) as caught:
            stranger.users.list()
        self.assertEqual(caught.exception.response.status_code, 401)
        with self.assertRaises(Auth0Error) as caught:
            GetToken(DOMAIN, **CLIENT).client_credentials("https://elsewhere.test/")
        self.assertEqual((caught.exception.status_code, caught.exception.error_code), (403, "access_denied"))

    def test_one_token_serves_a_client_for_many_calls(self):
        answer = GetToken(DOMAIN, **CLIENT).client_credentials(f"https://{DOMAIN}/api/v2/")
        self.assertEqual(answer["token_type"], "Bearer")
        self.assertIn("create:users", answer["scope"].split())
        other = ManagementClient(domain=DOMAIN, token=answer["access_token"])
        for _ in range(3):
            other.users.list()

    # How often the free tenant says so is up to the test that runs this script; a client asks three times.
    def test_a_client_that_is_told_to_wait_waits_and_comes_through(self):
        free = ManagementClient(domain=FREE_DOMAIN, **CLIENT)
        for i in range(4):
            user = {"email": f"free-{i}@python.test", "password": PASSWORD, "verify_email": False}
            free.users.create(connection=CONNECTION, **user)

    def test_a_client_that_is_told_to_wait_once_more_than_it_asks_gives_up_and_says_what_it_was_told(self):
        free = ManagementClient(domain=FREE_DOMAIN, **CLIENT)
        with self.assertRaises(TooManyRequestsError) as caught:
            free.users.list()
        error = caught.exception
        self.assertEqual((error.status_code, error.body["errorCode"]), (429, "too_many_requests"))
        self.assertEqual(error.headers["x-ratelimit-limit"], "2")
        self.assertEqual(error.headers["x-ratelimit-remaining"], "0")
        self.assertGreater(int(error.headers["x-ratelimit-reset"]), 1_500_000_000)


if __name__ == "__main__":
    # The client leaves its connections to the collector, which warns of them.
    unittest.main(verbosity=2, warnings="ignore")
