"""GET /v1/me on FastAPI, with PyJWT for tokens and a pool of prepared look-ups."""

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import asyncpg
import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]
FIND = Path(os.environ["FIND"]).read_text()
keys = jwt.PyJWKClient(os.environ["JWKS_URL"], cache_keys=True)


class User(BaseModel):
    key: str
    email: str | None
    name: str | None
    role: str | None
    permissions: list[str]
    auth0_user_id: str


class Me(BaseModel):
    user: User


@asynccontextmanager
async def lifespan(app: FastAPI):
    # The first fetch blocks; later ones are answered from the cache.
    keys.get_signing_keys()
    size = int(os.environ["POOL_SIZE"])
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=size, max_size=size) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


async def subject(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    token = credentials.credentials
    try:
        key = keys.get_signing_key_from_jwt(token).key
        require = {"require": ["exp", "sub"]}
        claims = jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER, options=require)
    except jwt.PyJWTError:
        raise HTTPException(401, "invalid_token", {"WWW-Authenticate": 'Bearer error="invalid_token"'}) from None
    return claims["sub"]


@app.get("/v1/me")
async def me(subject: Annotated[str, Depends(subject)], request: Request, response: Response) -> Me:
    row = await request.app.state.pool.fetchrow(FIND, subject)
    if row is None or row["blocked"]:
        raise HTTPException(403, "user_blocked" if row else "user_not_provisioned")
    response.headers["Cache-Control"] = "no-store"
    return Me(user=User(**row))


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
