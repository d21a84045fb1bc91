"""Reads an OpenAPI document on stdin; says what is wrong with it."""

import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator

errors = list(OpenAPIV31SpecValidator(json.load(sys.stdin)).iter_errors())
for error in errors:
    print(f"{error.json_path}: {error.message}")
sys.exit(bool(errors))
