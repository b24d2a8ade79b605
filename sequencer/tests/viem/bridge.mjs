// Deposit, transfer, deployment, logs and a withdrawal, by viem's OP Stack actions. Prints one word for each that is done.
import { readFileSync } from 'node:fs'
import { createPublicClient, createWalletClient, defineChain, http, parseAbi, parseEther } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import {
  chainConfig, getL2TransactionHashes, publicActionsL1, publicActionsL2, walletActionsL1, walletActionsL2,
} from 'viem/op-stack'

const { l1Url, l2Url, l1Id, l2Id, key, contracts, probe } = JSON.parse(readFileSync(0, 'utf8'))
const account = privateKeyToAccount(key)
const nativeCurrency = { name: 'Ether', symbol: 'ETH', decimals: 18 }
const l1Chain = defineChain({
  id: l1Id,
  name: 'L1',
  nativeCurrency,
  rpcUrls: { default: { http: [l1Url] } },
  contracts: { multicall3: { address: '0xcA11bde05977b3631167028862bE2a173976CA11' } },
})
const here = (address) => ({ [l1Id]: { address } })
const l2Chain = defineChain({
  ...chainConfig,
  id: l2Id,
  name: 'L2',
  nativeCurrency,
  rpcUrls: { default: { http: [l2Url] } },
  contracts: {
    ...chainConfig.contracts,
    portal: here(contracts.portal),
    l2OutputOracle: here(contracts.output_oracle),
    l1StandardBridge: here(contracts.standard_bridge),
  },
  sourceId: l1Id,
})
const pollingInterval = 200
const reader = (chain) => createPublicClient({ chain, pollingInterval, transport: http() })
const writer = (chain) => createWalletClient({ account, chain, pollingInterval, transport: http() })
const l1 = reader(l1Chain).extend(publicActionsL1())
const l2 = reader(l2Chain).extend(publicActionsL2())
const l1Wallet = writer(l1Chain).extend(walletActionsL1())
const l2Wallet = writer(l2Chain).extend(walletActionsL2())

const assert = (holds, what) => {
  if (!holds) throw new Error(what)
}
const confirmed = async (client, hash) => {
  const receipt = await client.waitForTransactionReceipt({ hash, timeout: 90_000 })
  assert(receipt.status === 'success', `${hash} failed`)
  return receipt
}

// What `ask` answers, once it does not fail any more.
const eventually = async (ask) => {
  for (let tries = 0; ; tries++) {
    try {
      return await ask()
    } catch (error) {
      if (tries === 450) throw error
      await new Promise((wake) => setTimeout(wake, pollingInterval))
    }
  }
}

const friend = '0x00000000000000000000000000000000000000f1'
const deposit = await l2.buildDepositTransaction({ account, mint: parseEther('1'), to: friend })
const deposited = await confirmed(l1, await l1Wallet.depositTransaction(deposit))
const [onL2] = getL2TransactionHashes(deposited)
await confirmed(l2, onL2)
assert(await l2.getBalance({ address: friend }) === parseEther('1'), 'the deposit has another value')
console.log('deposited')

const transfer = await confirmed(l2, await l2Wallet.sendTransaction({ to: friend, value: 5n }))
assert(transfer.l1Fee > 0n, 'the transfer paid nothing for its place on L1')
console.log('transferred')

const abi = parseAbi([
  'event Set(address indexed by, uint256 indexed key, uint256 value)',
  'function set(uint256 key, uint256 value)',
  'function values(uint256 key) view returns (uint256)',
])
const { contractAddress: address } = await confirmed(l2, await l2Wallet.deployContract({ abi, bytecode: probe }))
const set = await l2.simulateContract({ account, address, abi, functionName: 'set', args: [7n, 9n] })
const { blockNumber: fromBlock } = await confirmed(l2, await l2Wallet.writeContract(set.request))
assert(await l2.readContract({ address, abi, functionName: 'values', args: [7n] }) === 9n, 'nothing was set')
console.log('deployed')
const logs = await l2.getContractEvents({ address, abi, eventName: 'Set', args: { key: 7n }, fromBlock })
assert(logs.length === 1 && logs[0].args.value === 9n && logs[0].args.by === account.address, 'the log is another')
console.log('logged')

const target = '0x00000000000000000000000000000000000000f2'
const request = await l1.buildInitiateWithdrawal({ to: target, value: 777n })
const receipt = await confirmed(l2, await l2Wallet.initiateWithdrawal(request))
// `waitToProve` asks for the newest output at once, and the oracle reverts while there is none.
await eventually(() => l1.getL2Output({ targetChain: l2Chain, l2BlockNumber: receipt.blockNumber }))
const { output, withdrawal } = await l1.waitToProve({ receipt, targetChain: l2Chain, pollingInterval })
const proof = await l2.buildProveWithdrawal({ account, output, withdrawal })
await confirmed(l1, await l1Wallet.proveWithdrawal(proof))
console.log('proven')
await l1.waitToFinalize({ targetChain: l2Chain, withdrawalHash: withdrawal.withdrawalHash })
// L1's clock is that of its newest block.
await eventually(async () => {
  const status = await l1.getWithdrawalStatus({ receipt, targetChain: l2Chain })
  assert(status === 'ready-to-finalize', `the withdrawal stays ${status}`)
})
await confirmed(l1, await l1Wallet.finalizeWithdrawal({ targetChain: l2Chain, withdrawal }))
assert(await l1.getBalance({ address: target }) === 777n, 'the withdrawal has another value')
assert(await l1.getWithdrawalStatus({ receipt, targetChain: l2Chain }) === 'finalized', 'it is not final')
console.log('finalised')
