// One OrbitDB node on Helia that answers commands, one line of JSON each way: `node orbitdb_node.mjs DIRECTORY`.
// TCP on loopback alone; its stores are on the disk, as ours are.
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { bitswap } from '@helia/block-brokers'
import { Helia } from '@helia/utils'
import { gossipsub } from '@chainsafe/libp2p-gossipsub'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createOrbitDB } from '@orbitdb/core'
import { LevelBlockstore } from 'blockstore-level'
import { LevelDatastore } from 'datastore-level'
import { createLibp2p } from 'libp2p'

// libp2p asks for what Node.js has from 22 on.
Promise.withResolvers ??= () => {
  const all = {}
  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }))
  return all
}
const now = () => Number(process.hrtime.bigint()) / 1e9 // the monotonic clock that all processes share
const directory = process.argv[2]
const libp2p = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), pubsub: gossipsub({ allowPublishToZeroTopicPeers: true }) }
})
const blockstore = new LevelBlockstore(`${directory}/blocks`)
const datastore = new LevelDatastore(`${directory}/data`)
await blockstore.open()
await datastore.open()
// Helia as createHelia makes it, but for what would look for peers and routers elsewhere.
const ipfs = new Helia({ libp2p, blockstore, datastore, blockBrokers: [bitswap()], routers: [] })
await ipfs.start()
const orbitdb = await createOrbitDB({ ipfs, directory: `${directory}/orbitdb` })
let database
let added = 0

const time = async () => {
  const heads = await database.log.heads()
  return Math.max(0, ...heads.map((head) => head.clock.time))
}
const until = async (count) => {
  while ((await time()) < count) await new Promise((resolve) => setTimeout(resolve, 5))
}

const commands = {
  async create () {
    database = await orbitdb.open('rival', { type: 'events' })
    return [database.address, libp2p.getMultiaddrs()[0].toString()]
  },
  async add (count) {
    const begin = now()
    for (let one = 0; one < count; one++) await commands.add_one()
    return now() - begin
  },
  async add_one () {
    added++
    await database.add(randomBytes(512).toString('hex'))
    return now()
  },
  async count () {
    return added
  },
  async join ([address, peer], count) {
    const begin = now()
    await libp2p.dial(multiaddr(peer))
    database = await orbitdb.open(address)
    await until(count)
    return now() - begin
  },
  async listen () {
    database.events.on('update', () => arrivals.push(now()))
    return null
  },
  async seen () {
    while (arrivals.length === 0) await new Promise((resolve) => setImmediate(resolve))
    return arrivals.shift()
  }
}
const arrivals = []

console.log(JSON.stringify('ready'))
for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...args] = JSON.parse(line)
  console.log(JSON.stringify(await commands[command](...args)))
}
process.exit(0)
