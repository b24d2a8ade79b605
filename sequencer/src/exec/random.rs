//! Random blocks: programs, transactions and deposits that touch everything a block can change.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxEnvelope, TxLegacy},
    eips::{
        eip2718::Encodable2718,
        eip2930::{AccessList, AccessListItem},
        eip7702::Authorization,
    },
    primitives::{Address, B64, B256, Bytes, TxKind, U256, address},
    signers::{SignerSync, local::PrivateKeySigner},
};
use op_alloy::consensus::{OpTxEnvelope, TxDeposit};

use crate::{dev::dev_accounts, l1::MESSAGE_PASSER};

/// Sends the deposit that describes L1.
const DEPOSITOR: Address = address!("DeaDDEaDDeAdDeAdDEAdDEaddeAddEAdDEAd0001");
/// Receives it.
const L1_BLOCK: Address = address!("4200000000000000000000000000000000000015");

/// A seeded generator.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.word() % n
    }

    pub(super) fn hash(&mut self) -> B256 {
        alloy::primitives::keccak256(self.word().to_be_bytes())
    }

    pub(super) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }
}

/// Creation code of at most 32 bytes: nothing; two slots and a STOP; destruction at once; code that destroys itself; a slot and a
/// revert; an invalid first byte; a slot that is set and cleared.
const CHILDREN: [&[u8]; 7] = [
    &[],
    &[0x60, 7, 0x60, 1, 0x55, 0x60, 9, 0x60, 2, 0x55, 0x60, 1, 0x5f, 0xf3],
    &[0x33, 0xff],
    &[0x60, 5, 0x60, 5, 0x55, 0x61, 0x33, 0xff, 0x5f, 0x52, 0x60, 2, 0x60, 0x1e, 0xf3],
    &[0x60, 1, 0x60, 1, 0x55, 0x5f, 0x5f, 0xfd],
    &[0x60, 0xef, 0x5f, 0x53, 0x60, 1, 0x5f, 0xf3],
    &[0x60, 1, 0x5f, 0x55, 0x5f, 0x5f, 0x55, 0x60, 1, 0x5f, 0xf3],
];

/// Opcodes without operands that push what they know.
const FACTS: [u8; 15] = [0x30, 0x32, 0x33, 0x34, 0x36, 0x3d, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x4a];

/// Some operations that leave the stack as it was, then perhaps an end.
pub(super) fn program(dice: &mut Dice, known: &[Address]) -> Vec<u8> {
    let mut code = Vec::new();
    for _ in 0..1 + dice.below(12) {
        operation(dice, known, &mut code);
    }
    let ends: [&[u8]; 8] =
        [&[0], &[0], &[0], &[0x60, 32, 0x5f, 0xf3], &[0x60, 4, 0x5f, 0xfd], &[0xfe], &[0x33, 0xff], &[0x5b, 0x60]];
    code.extend_from_slice(dice.one_of(&ends));
    code
}

fn operation(dice: &mut Dice, known: &[Address], code: &mut Vec<u8>) {
    let mut small = |n| dice.below(n) as u8;
    match small(14) {
        // A slot set, often to zero.
        0 | 1 => code.extend([0x60, small(3), 0x60, small(6), 0x55]),
        // The slot that the calldata names, set to what it says.
        2 => code.extend([0x60, 32, 0x35, 0x5f, 0x35, 0x55]),
        // One slot copied to another.
        3 => code.extend([0x60, small(6), 0x54, 0x60, small(6), 0x55]),
        4 => {
            let topics = small(5);
            (0..topics).for_each(|_| code.extend([0x60, small(4)]));
            code.extend([0x60, small(70), 0x60, small(40), 0xa0 + topics]);
        }
        // Transient storage, then storage.
        5 => code.extend([0x60, small(9), 0x60, 1, 0x5d, 0x60, 1, 0x5c, 0x60, small(6), 0x55]),
        6 => {
            code.extend([
                0x60,
                small(64),
                0x60,
                small(64),
                0x60,
                small(64),
                0x5e,
                0x60,
                64,
                0x5f,
                0x20,
                0x60,
                16,
                0x55,
            ]);
        }
        7 => {
            let fact = FACTS[usize::from(small(15))];
            code.extend([fact, 0x60, 32 + small(8), 0x55]);
        }
        // The hash of a recent block.
        8 => code.extend([0x60, small(4), 0x43, 0x03, 0x40, 0x60, 48, 0x55]),
        9 => {
            let about = [0x31, 0x3b, 0x3f][usize::from(small(3))];
            push_address(dice, known, code);
            code.extend([about, 0x60, 50, 0x55]);
        }
        10 | 11 => call(dice, known, code),
        12 => create(dice, code),
        // All but an end: a jump over an invalid byte.
        _ => {
            let to = code.len() as u16 + 5;
            code.push(0x61);
            code.extend(to.to_be_bytes());
            code.extend([0x56, 0xfe, 0x5b]);
        }
    }
}

fn push_address(dice: &mut Dice, known: &[Address], code: &mut Vec<u8>) {
    code.push(0x73);
    code.extend_from_slice(dice.one_of(known).as_slice());
}

fn call(dice: &mut Dice, known: &[Address], code: &mut Vec<u8>) {
    let kind = dice.one_of(&[0xf1u8, 0xf1, 0xf2, 0xf4, 0xfa]);
    let value = dice.below(3) as u8;
    code.extend([0x60, 32, 0x5f, 0x60, 64, 0x5f]);
    if kind < 0xf4 {
        code.extend([0x60, value]);
    }
    push_address(dice, known, code);
    code.extend([0x61, 0x90, 0, kind, 0x60, 20, 0x55]);
}

/// Creates a child, notes its address and calls it, with a value at times.
fn create(dice: &mut Dice, code: &mut Vec<u8>) {
    let child = dice.one_of(&CHILDREN);
    if !child.is_empty() {
        code.push(0x5f + child.len() as u8);
        code.extend_from_slice(child);
        code.extend([0x5f, 0x52]);
    }
    let (size, at) = (child.len() as u8, 32 - child.len() as u8);
    let value = dice.below(2) as u8;
    match dice.below(2) {
        0 => code.extend([0x60, size, 0x60, at, 0x60, value, 0xf0]),
        _ => code.extend([0x60, dice.below(4) as u8, 0x60, size, 0x60, at, 0x60, value, 0xf5]),
    }
    code.extend([0x80, 0x60, 21, 0x55]);
    code.extend([0x5f, 0x5f, 0x5f, 0x5f, 0x60, dice.below(2) as u8, 0x85, 0x5a, 0xf1, 0x50, 0x50]);
}

/// Creation code that runs `first` and leaves `runtime`.
fn deployment(first: &[u8], runtime: &[u8]) -> Bytes {
    let length = runtime.len() as u16;
    let tail = |at: u16| {
        let mut code = vec![0x61];
        code.extend(length.to_be_bytes());
        code.extend([0x80, 0x61]);
        code.extend(at.to_be_bytes());
        code.extend([0x5f, 0x39, 0x5f, 0xf3]);
        code
    };
    let at = first.len() + tail(0).len();
    [first, &tail(at as u16), runtime].concat().into()
}

/// Who sends, and what there is to send to.
pub(super) struct World {
    pub(super) dice: Dice,
    keys: Vec<PrivateKeySigner>,
    nonces: Vec<u64>,
    /// Addresses that programs and transactions know: accounts, contracts, precompiles, some that do not exist.
    pub(super) known: Vec<Address>,
    chain_id: u64,
    isthmus: bool,
    /// Nonces of the accounts that are set to code.
    authorized: [u64; 3],
}

/// An account that is set to code, and sends nothing.
fn authority_key(number: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0x41 + number as u8)).unwrap()
}

impl World {
    pub(super) fn new(seed: u64, chain_id: u64) -> Self {
        let keys = dev_accounts().unwrap();
        let mut known: Vec<Address> = keys.iter().map(PrivateKeySigner::address).collect();
        known.extend((1..=10u8).map(Address::with_last_byte));
        known.extend([address!("0000000000000000000000000000000000000100"), L1_BLOCK]);
        known.extend((0..6u8).map(|byte| Address::repeat_byte(0xd0 + byte)));
        Self {
            dice: Dice::new(seed),
            nonces: vec![0; keys.len()],
            keys,
            known,
            chain_id,
            isthmus: false,
            authorized: [0; 3],
        }
    }

    /// With withdrawals, an operator's fee, and accounts that are set to code.
    pub(super) fn isthmus(mut self) -> Self {
        self.known.extend((0..3).map(|number| authority_key(number).address()));
        Self { isthmus: true, ..self }
    }

    /// Parameters of the base fee, at times the usual ones.
    pub(super) fn base_fee_params(&mut self) -> B64 {
        match self.dice.below(3) {
            0 => B64::ZERO,
            _ => {
                let parts = [1 + self.dice.below(400), 1 + self.dice.below(10)].map(|part| (part as u32).to_be_bytes());
                B64::from_slice(&parts.concat())
            }
        }
    }

    /// The transactions of a block, with the deposit that describes L1 and other deposits before the rest.
    pub(super) fn block(&mut self, number: u64) -> Vec<Bytes> {
        let mut raws = vec![self.l1_attributes(number)];
        for _ in 0..self.dice.below(4) {
            raws.push(self.deposit());
        }
        for _ in 0..self.dice.below(14) {
            raws.push(self.transaction());
        }
        if self.isthmus && self.dice.below(2) == 0 {
            raws.push(self.withdrawal());
        }
        raws
    }

    fn l1_attributes(&mut self, number: u64) -> Bytes {
        let mut input = if self.isthmus { vec![0x09, 0x89, 0x99, 0xbe] } else { vec![0x44, 0x0a, 0x5e, 0x20] };
        input.extend((self.dice.below(3000) as u32).to_be_bytes());
        input.extend((self.dice.below(1_000_000) as u32).to_be_bytes());
        [number, 1_000_000 + number, number].iter().for_each(|word| input.extend(word.to_be_bytes()));
        input.extend(U256::from(self.dice.below(1 << 34)).to_be_bytes::<32>());
        input.extend(U256::from(self.dice.below(1 << 30)).to_be_bytes::<32>());
        input.extend(self.dice.hash());
        input.extend(Address::repeat_byte(8).into_word());
        if self.isthmus {
            input.extend((self.dice.below(2_000_000) as u32).to_be_bytes());
            input.extend(self.dice.below(1 << 30).to_be_bytes());
        }
        encode_deposit(self.dice.hash(), DEPOSITOR, L1_BLOCK.into(), 0, 0, 1_000_000, input)
    }

    fn deposit(&mut self) -> Bytes {
        let from = Address::repeat_byte(0x10 + self.dice.below(3) as u8);
        let (source, mint, value) = (self.dice.hash(), self.dice.below(3) as u128, self.dice.below(5));
        let gas = 21_000 + self.dice.below(200_000);
        if self.dice.below(3) == 0 {
            let code = self.creation();
            return encode_deposit(source, from, TxKind::Create, mint, value, gas + 400_000, code.into());
        }
        let (to, input) = (self.dice.one_of(&self.known), self.calldata());
        encode_deposit(source, from, to.into(), mint, value, gas, input.into())
    }

    /// A withdrawal of nothing, which `receive` of the message passer makes of a plain transfer.
    fn withdrawal(&mut self) -> Bytes {
        let (source, from) = (self.dice.hash(), Address::repeat_byte(0x10));
        encode_deposit(source, from, MESSAGE_PASSER.into(), 3, self.dice.below(3), 200_000, Vec::new())
    }

    /// A transaction that sets some accounts to code, or back; some of its authorizations are not valid.
    fn set_code(&mut self, sender: usize, nonce: u64, to: Address, input: Bytes) -> Bytes {
        let mut authorization_list = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let authority = self.dice.below(3) as usize;
            // Those nonces that creations by their code have used are not counted: such an authorization is not valid either.
            let next = self.authorized[authority];
            let valid = self.dice.below(5) > 0;
            let address = if self.dice.below(4) == 0 { Address::ZERO } else { self.dice.one_of(&self.known) };
            let chain_id = U256::from(if self.dice.below(3) == 0 { 0 } else { self.chain_id });
            let authorization = Authorization { chain_id, address, nonce: if valid { next } else { next + 1 } };
            self.authorized[authority] += u64::from(valid);
            let signature = authority_key(authority).sign_hash_sync(&authorization.signature_hash()).unwrap();
            authorization_list.push(authorization.into_signed(signature));
        }
        let gas_limit = 300_000 + self.dice.below(500_000);
        let tx = TxEip7702 {
            chain_id: self.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: 20_000_000_000,
            max_priority_fee_per_gas: 1,
            to,
            value: U256::ZERO,
            access_list: AccessList::default(),
            authorization_list,
            input,
        };
        sign(&self.keys[sender], tx)
    }

    fn calldata(&mut self) -> Bytes {
        let word = |n: u64| U256::from(n).to_be_bytes::<32>();
        let (slot, value) = (self.dice.below(6), self.dice.below(3));
        [word(slot), word(value)].concat()[..self.dice.below(65) as usize].to_vec().into()
    }

    fn creation(&mut self) -> Bytes {
        let first = match self.dice.below(3) {
            0 => program(&mut self.dice, &self.known),
            _ => Vec::new(),
        };
        let runtime = program(&mut self.dice, &self.known);
        deployment(&first, &runtime)
    }

    fn transaction(&mut self) -> Bytes {
        let sender = self.dice.below(self.keys.len() as u64) as usize;
        let nonce = self.nonces[sender];
        self.nonces[sender] += 1;
        let (to, input) = match self.dice.below(8) {
            0 | 1 => {
                self.known.push(self.keys[sender].address().create(nonce));
                (TxKind::Create, self.creation())
            }
            2 => (self.dice.one_of(&self.known).into(), Bytes::new()),
            _ => {
                let recent = self.known.len().saturating_sub(24);
                (self.dice.one_of(&self.known[recent..]).into(), self.calldata())
            }
        };
        if let (true, TxKind::Call(to)) = (self.isthmus && self.dice.below(4) == 0, to) {
            return self.set_code(sender, nonce, to, input);
        }
        let (value, gas_limit) = (U256::from(self.dice.below(4)), 200_000 + self.dice.below(500_000));
        let (fee, tip) = (20_000_000_000 + u128::from(self.dice.below(1 << 30)), u128::from(self.dice.below(1 << 30)));
        let chain_id = self.chain_id;
        let slots = vec![B256::with_last_byte(self.dice.below(6) as u8)];
        let access_list =
            AccessList(vec![AccessListItem { address: self.dice.one_of(&self.known), storage_keys: slots }]);
        let key = &self.keys[sender];
        match self.dice.below(3) {
            0 => sign(key, TxLegacy { chain_id: Some(chain_id), nonce, gas_price: fee, gas_limit, to, value, input }),
            1 => sign(key, TxEip2930 { chain_id, nonce, gas_price: fee, gas_limit, to, value, access_list, input }),
            _ => {
                let (max_fee_per_gas, max_priority_fee_per_gas) = (fee, tip);
                let fees = TxEip1559 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    ..TxEip1559::default()
                };
                sign(key, TxEip1559 { to, value, access_list, input, ..fees })
            }
        }
    }
}

fn sign<T>(key: &PrivateKeySigner, tx: T) -> Bytes
where
    T: SignableTransaction<alloy::primitives::Signature>,
    TxEnvelope: From<alloy::consensus::Signed<T>>,
{
    let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

fn encode_deposit(
    source_hash: B256,
    from: Address,
    to: TxKind,
    mint: u128,
    value: u64,
    gas_limit: u64,
    input: Vec<u8>,
) -> Bytes {
    let (value, is_system_transaction) = (U256::from(value), false);
    let deposit =
        TxDeposit { source_hash, from, to, mint, value, gas_limit, is_system_transaction, input: input.into() };
    OpTxEnvelope::from(deposit).encoded_2718().into()
}
