"""What only the story knows: values of the formats that Roster alone gives out."""

import os

import schemathesis
from hypothesis import strategies

# A page begins at the beginning, since no other token is known before the first answer.
schemathesis.openapi.format("roster-page-token", strategies.just(""))
schemathesis.openapi.format("roster-revision", strategies.just(os.environ["ROSTER_REVISION"]))
