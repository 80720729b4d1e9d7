// The story of story.md, told by Seam's JavaScript SDK as it comes. One line a step on stdout.
// usage: node story.mjs FOLDER WEBHOOK_FOLDER, each with the package in its node_modules.

import assert from 'node:assert/strict'
import http from 'node:http'
import path from 'node:path'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { readFileSync } from 'node:fs'

let patience = 40_000
const [folder, webhookFolder] = process.argv.slice(2).map((name) => path.resolve(name))

/** Imports a package as a program in that folder would. */
const load = async (within, name) => {
  const root = path.join(within, 'node_modules', name)
  const about = JSON.parse(readFileSync(path.join(root, 'package.json')))
  // The main entry of the oldest is empty: its programs import "@seamapi/http/connect".
  const entry = about.exports['./connect'] ?? about.exports['.']
  const file = entry.import?.default ?? entry.default
  return { module: await import(pathToFileURL(path.join(root, file))), version: about.version }
}
const { module: sdk, version } = await load(folder, '@seamapi/http')
const { module: webhooks } = await load(webhookFolder, '@seamapi/webhook')
const svix = createRequire(path.join(webhookFolder, 'node_modules/'))('svix')

const { SeamHttp, isSeamHttpApiError, isSeamHttpInvalidInputError, isSeamHttpUnauthorizedError } = sdk
// The one switch that this SDK asks for before it shows its own typed methods.
const options = version.startsWith('1.121.') ? { isUndocumentedApiEnabled: true } : {}
const seam = new SeamHttp(options)
const it = {}
const received = []
const steps = []
const step = (name, needed, run) => steps.push({ name, needed, run })

const until = async (what, look, times = 1) => {
  const end = Date.now() + patience * times
  while (Date.now() < end) {
    const found = await look()
    if (found) return found
    await sleep(100)
  }
  throw new Error(`waited in vain for ${what}`)
}

const refused = async (is, run, code, status) => {
  let error
  try {
    await run()
  } catch (thrown) {
    error = thrown
  }
  assert(is(error), `not ${is.name}: ${error}`)
  if (code != null) assert.equal(error.code, code)
  if (status != null) assert.equal(error.statusCode, status)
  assert(error.requestId, 'no request id')
  return error
}

const ids = (things, field) => things.map((thing) => thing[field]).sort()

const control = async (name, body) => {
  const sent = body == null ? {} : { method: 'POST', body: JSON.stringify(body) }
  return await (await fetch(`${process.env.HID}/control/${name}`, sent)).json()
}

/** Typed where the SDK still has them, else by its raw client. */
const typed = seam.userIdentities.enrollmentAutomations
const raw = '/user_identities/enrollment_automations'
const automations = typed ?? {
  launch: async (body) => (await seam.client.post(`${raw}/launch`, body)).data.enrollment_automation,
  get: async (params) => (await seam.client.get(`${raw}/get`, { params })).data.enrollment_automation,
  list: async (params) => (await seam.client.get(`${raw}/list`, { params })).data.enrollment_automations,
  delete: async (params) => (await seam.client.delete(`${raw}/delete`, { params })).data,
}

const children = async () => {
  const listed = await seam.acs.credentials.list({ acs_user_id: it.user, is_multi_phone_sync_credential: false })
  return listed.filter((one) => one.parent_acs_credential_id === it.parent)
}

/** The events of this type that name one of these. */
const told = async (kind, field, wanted) => {
  const listed = await seam.events.list({ event_type: kind })
  return listed.filter((one) => wanted.includes(one[field]))
}

step(
  'systems',
  ['/acs/systems/list', '/acs/systems/get', '/acs/systems/list_compatible_credential_manager_acs_systems'],
  async () => {
    const listed = await seam.acs.systems.list()
    const access = listed.filter((one) => !one.is_credential_manager)
    assert.equal(access.length, 1)
    assert.equal(listed.length, 2)
    it.access = access[0].acs_system_id
    const asked = { acs_system_id: it.access }
    const [compatible] = await seam.acs.systems.listCompatibleCredentialManagerAcsSystems(asked)
    it.manager = compatible.acs_system_id
    const manager = await seam.acs.systems.get({ acs_system_id: it.manager })
    assert(manager.is_credential_manager)
    assert.equal(manager.external_type, 'hid_credential_manager_organization')
  },
)

step('workspace', ['/workspaces/get'], async () => {
  const workspace = await seam.workspaces.get()
  it.workspace = workspace.workspace_id
  assert(workspace.is_sandbox)
})

step('identity', ['/user_identities/create', '/user_identities/get', '/user_identities/list'], async () => {
  const made = await seam.userIdentities.create({
    user_identity_key: 'jean',
    full_name: 'Jean Example',
    email_address: 'jean@tenant.example',
  })
  it.identity = made.user_identity_id
  assert.equal(made.workspace_id, it.workspace)
  assert.equal(made.display_name, 'Jean Example')
  const byId = await seam.userIdentities.get({ user_identity_id: it.identity })
  const byKey = await seam.userIdentities.get({ user_identity_key: 'jean' })
  assert.equal(byId.user_identity_id, it.identity)
  assert.equal(byKey.user_identity_id, it.identity)
  assert.deepEqual(ids(await seam.userIdentities.list(), 'user_identity_id'), [it.identity])
  await refused(
    isSeamHttpApiError,
    () => seam.userIdentities.create({ user_identity_key: 'other', email_address: 'jean@tenant.example' }),
    'user_identity_email_or_phone_conflict',
    409,
  )
})

step('update', ['/user_identities/update'], async () => {
  await seam.userIdentities.update({ user_identity_id: it.identity, phone_number: '+15551234567' })
  const shown = await seam.userIdentities.get({ user_identity_id: it.identity })
  assert.equal(shown.phone_number, '+15551234567')
  assert.equal(shown.full_name, 'Jean Example')
})

step('acs_user', ['/acs/users/create', '/acs/users/get', '/acs/users/list'], async () => {
  const linked = served.has('/user_identities/add_acs_user') ? {} : { user_identity_id: it.identity }
  const made = await seam.acs.users.create({ acs_system_id: it.access, full_name: 'Jean Example', ...linked })
  it.user = made.acs_user_id
  assert.equal(made.acs_system_id, it.access)
  assert.equal((await seam.acs.users.get({ acs_user_id: it.user })).full_name, 'Jean Example')
  assert.deepEqual(ids(await seam.acs.users.list({ acs_system_id: it.access }), 'acs_user_id'), [it.user])
})

step(
  'link',
  ['/user_identities/add_acs_user', '/user_identities/list_acs_users', '/user_identities/list_acs_systems'],
  async () => {
    await seam.userIdentities.addAcsUser({ user_identity_id: it.identity, acs_user_id: it.user })
    const users = await seam.userIdentities.listAcsUsers({ user_identity_id: it.identity })
    assert.deepEqual(ids(users, 'acs_user_id'), [it.user])
    const systems = await seam.userIdentities.listAcsSystems({ user_identity_id: it.identity })
    assert(ids(systems, 'acs_system_id').includes(it.access))
    assert.equal((await seam.acs.users.get({ acs_user_id: it.user })).user_identity_id, it.identity)
  },
)

step('webhook', ['/webhooks/create', '/webhooks/get', '/webhooks/list'], async () => {
  it.server = http.createServer(async (request, response) => {
    let body = ''
    for await (const part of request) body += part
    received.push([body, request.headers])
    response.writeHead(204).end()
  })
  await new Promise((ready) => it.server.listen(0, '127.0.0.1', ready))
  const url = `http://127.0.0.1:${it.server.address().port}/hook`
  const made = await seam.webhooks.create({ url, event_types: ['*'] })
  it.webhook = made.webhook_id
  it.secret = made.secret
  assert(it.secret)
  assert.equal((await seam.webhooks.get({ webhook_id: it.webhook })).url, url)
  assert.deepEqual(ids(await seam.webhooks.list(), 'webhook_id'), [it.webhook])
})

step('launch', ['/user_identities/enrollment_automations/launch'], async () => {
  const ask = {
    user_identity_id: it.identity,
    credential_manager_acs_system_id: it.manager,
    create_credential_manager_user: true,
  }
  const made = await automations.launch(ask)
  it.automation = made.enrollment_automation_id
  assert.equal(made.user_identity_id, it.identity)
  assert.equal((await automations.launch(ask)).enrollment_automation_id, it.automation)
  const same = await automations.get({ enrollment_automation_id: it.automation })
  assert.equal(same.workspace_id, it.workspace)
  const listed = await automations.list({ user_identity_id: it.identity })
  assert.deepEqual(ids(listed, 'enrollment_automation_id'), [it.automation])
  return typed ? 'typed' : 'raw client'
})

step('credential', ['/acs/credentials/create', '/acs/credentials/get', '/acs/credentials/list'], async () => {
  const ask = {
    acs_user_id: it.user,
    access_method: 'mobile_key',
    is_multi_phone_sync_credential: true,
    credential_manager_acs_system_id: it.manager,
  }
  const made = await seam.acs.credentials.create(ask)
  it.parent = made.acs_credential_id
  assert(made.is_multi_phone_sync_credential)
  assert(!made.is_issued)
  assert.equal((await seam.acs.credentials.create(ask)).acs_credential_id, it.parent)
})

step('phones', [], async () => {
  if (served.has('/phones/simulate/create_sandbox_phone')) {
    const made = []
    for (const system of ['ios', 'android']) {
      made.push(
        await seam.phones.simulate.createSandboxPhone({
          user_identity_id: it.identity,
          custom_sdk_installation_id: `installation-${system}`,
          phone_metadata: { operating_system: system },
        }),
      )
    }
    it.phones = ids(made, 'device_id')
    assert.deepEqual(ids(made, 'device_type'), ['android_phone', 'ios_phone'])
    return 'createSandboxPhone'
  }
  const redeem = async () => 'container_id' in (await control('redeem', { external_id: it.identity }))
  await until('the first phone', redeem)
  await until(
    'the phone to be known',
    async () => (await seam.phones.list({ owner_user_identity_id: it.identity })).length === 1,
  )
  const ask = { enrollment_automation_id: it.automation }
  await seam.client.post('/enrollment_automations/invitations/get_or_create', ask)
  await until('the second phone', redeem)
  return "simulator's control API; create_sandbox_phone is not served"
})

step('issued', ['/phones/list', '/phones/get'], async () => {
  const found = await until('two issued children', async () => {
    const seen = await children()
    return seen.length === 2 && seen.every((one) => one.is_issued) ? seen : null
  })
  it.children = ids(found, 'acs_credential_id')
  const parent = await seam.acs.credentials.get({ acs_credential_id: it.parent })
  assert(parent.is_issued)
  assert(parent.is_latest_desired_state_synced_with_provider)
  assert.equal((await control('state')).live_credentials.length, 2)
})

step('read', [], async () => {
  for (const one of await children()) {
    const same = await seam.acs.credentials.get({ acs_credential_id: one.acs_credential_id })
    assert(same.card_number)
    assert.equal(same.card_number, one.card_number)
    assert.equal(same.user_identity_id, it.identity)
    assert(!same.is_multi_phone_sync_credential)
    assert.equal((await seam.phones.list({ acs_credential_id: one.acs_credential_id })).length, 1)
  }
  const asked = { user_identity_id: it.identity, is_multi_phone_sync_credential: true }
  assert.deepEqual(ids(await seam.acs.credentials.list(asked), 'acs_credential_id'), [it.parent])
  const everything = ids(await seam.acs.credentials.list(), 'acs_credential_id')
  assert.deepEqual(everything, [...it.children, it.parent].sort())
  const owned = ids(await seam.phones.list({ owner_user_identity_id: it.identity }), 'device_id')
  assert.equal(owned.length, 2)
  assert.deepEqual(owned, it.phones ?? owned)
  it.phones = owned
  assert.deepEqual(ids(await seam.phones.list({ acs_credential_id: it.parent }), 'device_id'), owned)
  assert.equal((await seam.phones.get({ device_id: owned[0] })).device_id, owned[0])
  const { acs_user_ids: users } = await seam.userIdentities.get({ user_identity_id: it.identity })
  const listed = await seam.acs.users.list({ user_identity_id: it.identity })
  assert.deepEqual([...users].sort(), ids(listed, 'acs_user_id'))
})

step('pages', [], async () => {
  const extra = []
  for (const n of [0, 1]) {
    extra.push((await seam.userIdentities.create({ user_identity_key: `extra-${n}` })).user_identity_id)
  }
  const allOf = async (list, field, asked) => {
    const wanted = ids(await list(asked), field)
    const paged = await seam.createPaginator(list({ ...asked, limit: 1 })).flattenToArray()
    assert.deepEqual(ids(paged, field), wanted)
    assert(wanted.length > 1, field)
  }
  await allOf((asked) => seam.userIdentities.list(asked), 'user_identity_id', {})
  await allOf((asked) => seam.acs.users.list(asked), 'acs_user_id', {})
  await allOf((asked) => seam.acs.credentials.list(asked), 'acs_credential_id', { acs_user_id: it.user })
  for (const one of extra) await seam.userIdentities.delete({ user_identity_id: one })
})

step('events', ['/events/list', '/events/get'], async () => {
  const found = await until('both events', async () => {
    const seen = await told('acs_credential.issued', 'acs_credential_id', it.children)
    return seen.length === 2 ? seen : null
  })
  const same = await seam.events.get({ event_id: found[0].event_id })
  assert.equal(same.event_type, 'acs_credential.issued')
  assert.equal(same.workspace_id, it.workspace)
  const asked = { event_types: ['acs_credential.issued', 'acs_user.created'], since: '2020-01-01' }
  const many = ids(await seam.events.list(asked), 'event_id')
  for (const one of found) assert(many.includes(one.event_id))
})

step(
  'session',
  ['/client_sessions/create', '/client_sessions/list', '/client_sessions/revoke', '/client_sessions/delete'],
  async () => {
    const stranger = await seam.userIdentities.create({ user_identity_key: 'stranger' })
    const ask = { user_identity_id: it.identity, user_identifier_key: 'jean@app' }
    const made = await seam.clientSessions.create(ask)
    assert(made.token.startsWith('seam_cst'))
    assert.deepEqual(made.user_identity_ids, [it.identity])
    assert.equal((await seam.clientSessions.getOrCreate(ask)).token, made.token)
    assert.deepEqual(ids(await seam.clientSessions.list(), 'client_session_id'), [made.client_session_id])

    const app = SeamHttp.fromClientSessionToken(made.token, options)
    assert.deepEqual(ids(await app.userIdentities.list(), 'user_identity_id'), [it.identity])
    assert.equal((await app.acs.credentials.list()).length, 3)
    await refused(isSeamHttpUnauthorizedError, () => app.phones.list())
    const of = { client_session_id: made.client_session_id }
    await seam.clientSessions.revoke(of)
    await refused(isSeamHttpUnauthorizedError, () => app.userIdentities.list())
    await seam.clientSessions.delete(of)
    assert.deepEqual(await seam.clientSessions.list(), [])
    await seam.userIdentities.delete({ user_identity_id: stranger.user_identity_id })
  },
)

step('verified', ['/webhooks/create'], async () => {
  const verifier = new webhooks.SeamWebhook(it.secret)
  await until('both deliveries', () => {
    const seen = received.map(([body, headers]) => verifier.verify(body, headers))
    const named = seen.filter((one) => one.event_type === 'acs_credential.issued')
    return it.children.every((child) => named.some((one) => one.acs_credential_id === child))
  })
  const [body, headers] = received[0]
  assert.throws(() => verifier.verify(`${body} `, headers), svix.WebhookVerificationError)
})

step('lost_phone', ['/phones/deactivate'], async () => {
  const [lost, kept] = it.phones
  await seam.phones.deactivate({ device_id: lost })
  await refused(isSeamHttpApiError, () => seam.phones.get({ device_id: lost }), undefined, 404)
  assert.deepEqual(ids(await seam.phones.list({ owner_user_identity_id: it.identity }), 'device_id'), [kept])
  const left = await until('one child', async () => {
    const seen = await children()
    return seen.length === 1 ? seen : null
  })
  assert(left[0].is_issued)
  const holders = await seam.phones.list({ acs_credential_id: left[0].acs_credential_id })
  assert.deepEqual(ids(holders, 'device_id'), [kept])
  await until('one live key', async () => (await control('state')).live_credentials.length === 1)
  if (served.has('/events/list')) {
    await until('phone.deactivated', async () => (await told('phone.deactivated', 'device_id', [lost])).length)
  }
})

step('errors', [], async () => {
  const nobody = { user_identity_id: 'ffffffff-ffff-4fff-8fff-ffffffffffff' }
  await refused(isSeamHttpApiError, () => seam.userIdentities.get(nobody), 'user_identity_not_found', 404)
  const bad = { user_identity_id: 'no uuid' }
  const error = await refused(isSeamHttpInvalidInputError, () => seam.userIdentities.get(bad))
  assert.deepEqual(error.getValidationErrorMessages('user_identity_id'), ['Invalid uuid'])
  await refused(isSeamHttpInvalidInputError, () => seam.client.post('/acs/credentials/create', {}))
  const stranger = new SeamHttp({ ...options, apiKey: 'seam_test_nobody' })
  await refused(isSeamHttpUnauthorizedError, () => stranger.userIdentities.list())
})

step('delete_automation', ['/user_identities/enrollment_automations/delete'], async () => {
  const asked = { enrollment_automation_id: it.automation }
  await automations.delete(asked)
  await refused(isSeamHttpApiError, () => automations.get(asked), 'enrollment_automation_not_found', 404)
  assert.deepEqual(await automations.list({ user_identity_id: it.identity }), [])
  if (served.has('/events/list')) {
    const kind = 'enrollment_automation.deleted'
    const field = 'enrollment_automation_id'
    await until('its event', async () => (await told(kind, field, [it.automation])).length === 1)
  }
})

step('delete_identity', ['/user_identities/delete'], async () => {
  await seam.userIdentities.delete({ user_identity_id: it.identity })
  // The daemon looks after half a minute whether HID has revoked, and then whether it has no such user.
  const gone = async () => {
    try {
      await seam.userIdentities.get({ user_identity_id: it.identity })
      return false
    } catch (error) {
      return error.code === 'user_identity_not_found' && error.statusCode === 404
    }
  }
  await until('the end of the identity', gone, 4)
  assert.deepEqual(await seam.acs.credentials.list(), [])
  assert.deepEqual(await seam.acs.users.list({ user_identity_id: it.identity }), [])
  assert.deepEqual((await control('state')).live_credentials, [])
  assert.deepEqual(await control('violations'), [])
  if (served.has('/events/list')) {
    const lost = [it.parent, ...it.children]
    const count = async () => (await told('acs_credential.deleted', 'acs_credential_id', lost)).length
    await until('their events', async () => (await count()) === 3)
  }
})

step('delete_webhook', ['/webhooks/delete'], async () => {
  await seam.webhooks.delete({ webhook_id: it.webhook })
  assert.deepEqual(await seam.webhooks.list(), [])
})

const document = await (await fetch(`${process.env.SEAM_ENDPOINT}/openapi.json`)).json()
const served = new Set(Object.keys(document.paths))
let failed = false
for (const { name, needed, run } of steps) {
  const missing = needed.filter((one) => !served.has(one))
  if (missing.length > 0) {
    console.log(`absent ${name}: ${missing.join(', ')}`)
    continue
  }
  try {
    const note = await run()
    console.log(`ok ${name}${note == null ? '' : `: ${note}`}`)
  } catch (error) {
    failed = true
    // What follows most often fails with it.
    patience = 3_000
    console.log(`FAILED ${name}: ${String(error).replaceAll('\n', ' ')}`)
    console.error(error)
  }
}
process.exit(failed ? 1 : 0)
