"""The tenant that the environment names, and what every script does with it."""

import os
import unittest

from auth0.management import ManagementClient
from auth0.management.core.api_error import ApiError

DOMAIN = os.environ["AUTH0_DOMAIN"]
CONNECTION = os.environ["AUTH0_CONNECTION"]
CONNECTION_ID = os.environ["AUTH0_CONNECTION_ID"]
CLIENT = {"client_id": os.environ["AUTH0_CLIENT_ID"], "client_secret": os.environ["AUTH0_CLIENT_SECRET"]}
PASSWORD = "Correct-horse-1"
# The client takes a conflict for something that passes, and tries again unless it is told not to.
ONCE = {"max_retries": 0}

tenant = ManagementClient(domain=DOMAIN, **CLIENT)


def create(name, /, **more):
    user = {"email": f"{name}@python.test", "password": PASSWORD, "verify_email": False, **more}
    return tenant.users.create(connection=CONNECTION, request_options=ONCE, **user)


class Steps(unittest.TestCase):
    def refused(self, kind, status, code, call, *arguments, **named):
        """The error's class and status; Auth0's body says the status again and has the code."""
        with self.assertRaises(kind) as caught:
            call(*arguments, **named)
        error = caught.exception
        self.assertIsInstance(error, ApiError)
        self.assertEqual(error.status_code, status)
        self.assertEqual(error.body["statusCode"], status)
        self.assertEqual(error.body.get("errorCode"), code)
