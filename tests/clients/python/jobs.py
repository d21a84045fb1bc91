"""Auth0's client for Python: imports, exports, verification mails and tickets. Each test is a step of its own."""

import gzip
import json
import time
import unittest

import httpx
from auth0.management.errors import BadRequestError, NotFoundError

from tenant import CONNECTION_ID, Steps, create, tenant

jobs, tickets, users = tenant.jobs, tenant.tickets, tenant.users


def done(begun):
    """As Auth0's documentation says: ask for the job until it is done."""
    while True:
        job = jobs.get(begun.id)
        if job.status in ("completed", "failed"):
            return job
        time.sleep(0.05)


def send(records, **more):
    file = ("users.json", json.dumps(records), "application/json")
    request = {"connection_id": CONNECTION_ID, "send_completion_email": False, **more}
    return jobs.users_imports.create(users=file, **request)


def exported(**request):
    job = done(jobs.users_exports.create(connection_id=CONNECTION_ID, **request))
    answer = httpx.get(job.location)
    answer.raise_for_status()
    return gzip.decompress(answer.content).decode().splitlines()


class Jobs(Steps):
    def test_a_file_of_users_is_imported_and_the_job_says_how_many(self):
        records = [{"email": "Lea@python.test", "user_id": "python-lea", "blocked": True}, {"email": "mia@python.test"}]
        begun = send(records, external_id="first")
        self.assertEqual((begun.type, begun.status, begun.external_id), ("users_import", "pending", "first"))
        job = done(begun)
        summary = {"failed": 0, "updated": 0, "inserted": 2, "total": 2}
        self.assertEqual(job.summary.model_dump(), summary)
        self.assertIs(users.get("auth0|python-lea").blocked, True)
        self.assertIsNone(jobs.errors.get(job.id))

    def test_a_record_that_is_there_already_fails_unless_it_may_be_updated(self):
        create("nia", app_metadata={"role": "Artist", "plan": "gold"})
        records = [{"email": "nia@python.test", "app_metadata": {"role": "Editor"}}]
        refusal = done(send(records))
        self.assertEqual(refusal.summary.failed, 1)
        [failed] = jobs.errors.get(refusal.id)
        self.assertEqual(failed.errors[0].code, "DUPLICATED_USER")
        self.assertEqual(done(send(records, upsert=True)).summary.updated, 1)
        [nia] = users.list_users_by_email(email="nia@python.test")
        self.assertEqual(nia.app_metadata, {"role": "Editor"})

    def test_an_import_into_no_connection_and_a_job_nobody_knows_are_refused(self):
        self.refused(BadRequestError, 400, "invalid_body", send, [], connection_id="con_none")
        self.refused(NotFoundError, 404, None, jobs.get, "job_0000000000000001")

    def test_an_export_has_a_line_of_json_for_each_user(self):
        user_id = create("ola", app_metadata={"role": "Artist"}).user_id
        fields = [{"name": "user_id"}, {"name": "app_metadata.role", "export_as": "role"}]
        found = [json.loads(line) for line in exported(format="json", fields=fields)]
        self.assertIn({"user_id": user_id, "role": "Artist"}, found)
        self.assertEqual(len(exported(format="json", limit=1)), 1)

    def test_an_export_may_be_a_table(self):
        create("pam")
        head, *rows = exported(format="csv", fields=[{"name": "email", "export_as": "Mail"}])
        self.assertEqual(head, "Mail")
        self.assertTrue(any("pam@python.test" in row for row in rows))

    def test_a_verification_mail_is_sent_by_a_job(self):
        begun = jobs.verification_email.create(user_id=create("quin").user_id)
        self.assertEqual(begun.type, "verification_email")
        self.assertEqual(done(begun).status, "completed")

    def test_a_ticket_opens_the_page_that_sets_a_password(self):
        user_id = create("rosa").user_id
        link = tickets.change_password(user_id=user_id, ttl_sec=60, mark_email_as_verified=True).ticket
        self.assertEqual(httpx.get(link).status_code, 200)
        self.assertEqual(httpx.post(link, data={"password": "Another-horse-2"}).status_code, 200)
        self.assertIs(users.get(user_id).email_verified, True)

    def test_a_ticket_verifies_an_address(self):
        user_id = create("sue").user_id
        httpx.get(tickets.verify_email(user_id=user_id).ticket)
        self.assertIs(users.get(user_id).email_verified, True)

    def test_nobody_gets_a_ticket_for_a_user_who_does_not_exist(self):
        self.refused(NotFoundError, 404, "inexistent_user", tickets.change_password, user_id="auth0|nobody")


if __name__ == "__main__":
    # The client leaves its connections to the collector, which warns of them.
    unittest.main(verbosity=2, warnings="ignore")
