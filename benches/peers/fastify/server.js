// GET /v1/me on Fastify, with jose for tokens, a pool of prepared look-ups and a compiled schema for the answer.
const { readFileSync } = require('node:fs')
const fastify = require('fastify')
const { createRemoteJWKSet, jwtVerify } = require('jose')
const pg = require('pg')

const { ISSUER, JWKS_URL, AUDIENCE, DATABASE_URL, POOL_SIZE, PORT, FIND } = process.env
const text = readFileSync(FIND, 'utf8')
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: Number(POOL_SIZE), idleTimeoutMillis: 0 })
const keys = createRemoteJWKSet(new URL(JWKS_URL))
const accepted = { issuer: ISSUER, audience: AUDIENCE, algorithms: ['RS256'], requiredClaims: ['exp', 'sub'] }

const app = fastify({ logger: false })
app.decorateRequest('subject', null)

async function bearer(request, reply) {
    const [scheme, token] = (request.headers.authorization ?? '').split(' ')
    if (scheme.toLowerCase() !== 'bearer' || !token) {
        return reply.code(401).header('WWW-Authenticate', 'Bearer realm="api"').send({ code: 'token_missing' })
    }
    try {
        const { payload } = await jwtVerify(token, keys, accepted)
        request.subject = payload.sub
    } catch {
        return reply.code(401).header('WWW-Authenticate', 'Bearer error="invalid_token"').send({ code: 'invalid_token' })
    }
}

const nullable = { type: ['string', 'null'] }
const me = {
    type: 'object',
    properties: {
        user: {
            type: 'object',
            properties: {
                key: { type: 'string' },
                email: nullable,
                name: nullable,
                role: nullable,
                permissions: { type: 'array', items: { type: 'string' } },
                auth0_user_id: { type: 'string' },
            },
        },
    },
}

app.get('/v1/me', { onRequest: bearer, schema: { response: { 200: me } } }, async (request, reply) => {
    const found = await pool.query({ name: 'find', text, values: [request.subject] })
    const user = found.rows[0]
    if (!user || user.blocked) return reply.code(403).send({ code: user ? 'user_blocked' : 'user_not_provisioned' })
    reply.header('Cache-Control', 'no-store')
    return { user }
})

app.listen({ port: Number(PORT), host: '127.0.0.1' })
