// GET /v1/me on Express, with Auth0's middleware for tokens and a pool of prepared look-ups.
const { readFileSync } = require('node:fs')
const express = require('express')
const { auth } = require('express-oauth2-jwt-bearer')
const pg = require('pg')

const { ISSUER, JWKS_URL, AUDIENCE, DATABASE_URL, POOL_SIZE, PORT, FIND } = process.env
const text = readFileSync(FIND, 'utf8')
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: Number(POOL_SIZE), idleTimeoutMillis: 0 })

const app = express()
app.disable('x-powered-by')
app.disable('etag')

const bearer = auth({ issuer: ISSUER, jwksUri: JWKS_URL, audience: AUDIENCE, tokenSigningAlg: 'RS256' })
app.get('/v1/me', bearer, async (request, response) => {
    const found = await pool.query({ name: 'find', text, values: [request.auth.payload.sub] })
    const user = found.rows[0]
    if (!user || user.blocked) return response.status(403).json({ code: user ? 'user_blocked' : 'user_not_provisioned' })
    const { blocked, ...shown } = user
    response.set('Cache-Control', 'no-store').json({ user: shown })
})

app.use((error, request, response, next) => {
    if (error.headers) response.set(error.headers)
    response.status(error.status ?? 500).json({ code: error.code ?? (error.status ? 'token_missing' : 'internal') })
})

app.listen(Number(PORT), '127.0.0.1')
