"""What a DBA does in a tool that commits each statement: users, buttons and views, on a session that stays open.

The database is DATABASE_URL; a reactor is at work on it.
"""

import os
import unittest

import psycopg
from psycopg.rows import dict_row


class Autocommit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tool = psycopg.connect(
            os.environ["DATABASE_URL"],
            autocommit=True,
            application_name="a tool with a mouse",
            row_factory=dict_row,
        )
        # Such tools ask for the same thing again and again, which is prepared then.
        cls.tool.prepare_threshold = 2

    def one(self, statement, *values):
        return self.tool.execute(statement, values).fetchone()

    def refused(self, statement, *values):
        with self.assertRaises(psycopg.Error) as caught:
            self.tool.execute(statement, values)
        told = caught.exception.diag
        self.assertTrue(told.message_detail, told.message_primary)
        self.assertTrue(told.message_hint, told.message_primary)
        return told

    def test_1_a_change_is_waited_for_and_has_reached_auth0(self):
        self.one("insert into users (email, name) values (%s, %s) returning id", "ada@example.com", "Ada")
        receipt = self.one("select * from roster.wait()")
        self.assertEqual((receipt["converged"], receipt["users"]), (True, 1), receipt)
        self.one("update users set name = 'Ada L.' where email = %s returning id", "ada@example.com")
        receipt = self.one("select * from roster.wait('60 s')")
        self.assertEqual((receipt["converged"], receipt["users"]), (True, 1), receipt)

    def test_2_every_view_is_read_again_and_again(self):
        for _ in range(6):
            self.assertEqual(self.one("select * from roster.status")["mode"], "enforce")
            self.assertEqual(self.tool.execute("select * from roster.plan").fetchall(), [])
            self.assertEqual(self.tool.execute("select * from roster.held").fetchall(), [])
            self.assertEqual(self.tool.execute("select * from roster.problems").fetchall(), [])
            self.assertEqual(self.tool.execute("select * from roster.drift").fetchall(), [])
            self.assertEqual(self.one("select sync from roster.user_sync where email = %s", "ada@example.com")["sync"], "synced")
            told = self.one("select roster.explain(%s)", "ada@example.com")["explain"]
            self.assertIn("ada@example.com", told)
        history = self.tool.execute("select * from roster.history_of(%s)", ["ada@example.com"]).fetchall()
        self.assertIn("a tool with a mouse", {row["tool"] for row in history})

    def test_3_buttons_act_at_once(self):
        self.assertEqual(self.one("select roster.resync(%s) as users", "ada@example.com")["users"], 1)
        self.one("select roster.pause(%s)", "a look around")
        self.one("update users set blocked = true where email = %s returning id", "ada@example.com")
        self.assertEqual(self.one("select pause_reason from roster.status")["pause_reason"], "a look around")
        self.assertFalse(self.one("select * from roster.wait('0')")["converged"])
        self.one("select roster.resume()")
        self.one("update users set blocked = false where email = %s returning id", "ada@example.com")
        self.assertTrue(self.one("select * from roster.wait('60 s')")["converged"])

    def test_4_a_mistake_is_told_with_what_to_do(self):
        told = [
            self.refused(statement, *values).sqlstate
            for statement, *values in [
                ("select roster.resync(%s)", "nobody@example.com"),
                ("select roster.set_mode(%s)", "on"),
                ("select roster.release_held(%s)", "ada@example.com"),
                ("select roster.unlink(%s)", "auth0|nobody"),
            ]
        ]
        self.assertEqual(told, ["RO003", "RO004", "RO005", "RO008"])
        self.assertTrue(self.one("select true as alive")["alive"])

    def test_5_a_transaction_begun_by_hand_sees_its_own_plan_and_can_be_thrown_away(self):
        with self.tool.transaction(force_rollback=True):
            self.one("update users set name = 'Countess' where email = %s returning id", "ada@example.com")
            # A page at a time, as a grid reads it.
            with self.tool.cursor("grid") as grid:
                grid.itersize = 1
                planned = [row["action"] for row in grid.execute("select * from roster.plan")]
            self.assertEqual(planned, ["update"])
        with self.tool.transaction(force_rollback=True):
            self.one("update users set name = 'Countess' where email = %s returning id", "ada@example.com")
            self.assertEqual(self.refused("select roster.wait()").sqlstate, "RO010")
        self.assertEqual(self.tool.execute("select * from roster.plan").fetchall(), [])

    def test_6_rows_are_loaded_by_copy_and_by_many_values_at_once(self):
        with self.tool.cursor().copy("copy users (email, name) from stdin") as copy:
            for number in range(5):
                copy.write_row((f"copied-{number}@example.com", "Copied"))
        with self.tool.cursor() as cursor:
            rows = [(f"many-{number}@example.com", "Many") for number in range(5)]
            cursor.executemany("insert into users (email, name) values (%s, %s)", rows)
        self.assertTrue(self.one("select * from roster.wait('60 s')")["converged"])
        synced = "select count(*) from roster.user_sync where sync = 'synced' and email like any (%s)"
        self.assertEqual(self.one(synced, ["copied-%", "many-%"])["count"], 10)


if __name__ == "__main__":
    unittest.main()
