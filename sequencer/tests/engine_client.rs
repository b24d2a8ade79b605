//! The Engine API client against a mock engine that speaks, and checks, the published schema.

use std::sync::{Arc, Mutex};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::engine::{
        ExecutionPayloadV1, ExecutionPayloadV2, ExecutionPayloadV3, ForkchoiceState, PayloadAttributes, PayloadId,
        PayloadStatusEnum,
    },
};
use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use lockstep_sequencer::engine::{Engine, EngineClient, EngineError, JwtSecret};
use op_alloy::rpc_types_engine::{OpExecutionPayloadV4, OpPayloadAttributes};
use serde_json::{Value, json};

const SECRET: &str = "0x6e6f7420612073656372657420616e64203332206279746573206c6f6e672121";

fn is_hex(value: &Value, digits: usize) -> bool {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x"));
    text.is_some_and(|text| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_bytes(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() % 2 == 0 && is_hex(value, text.len().saturating_sub(2)))
}

/// `^0x(0|[1-9a-f][0-9a-f]{0,15})$`
fn is_quantity(value: &Value) -> bool {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x")).unwrap_or("");
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    digits && (1..=16).contains(&text.len()) && (text == "0" || !text.starts_with('0'))
}

/// A field's name and its form.
type Field<'a> = (&'a str, &'a dyn Fn(&Value) -> bool);

/// Exactly these fields, each of its form.
fn has_form(value: &Value, form: &[Field<'_>]) -> Result<(), String> {
    let object = value.as_object().ok_or_else(|| format!("{value} is no object"))?;
    if let Some(stray) = object.keys().find(|key| form.iter().all(|(name, _)| name != key)) {
        return Err(format!("unknown field {stray}"));
    }
    match form.iter().find(|(name, check)| !object.get(*name).is_some_and(check)) {
        Some((name, _)) => Err(format!("{name} is {:?}", object.get(*name))),
        None => Ok(()),
    }
}

fn hash(value: &Value) -> bool {
    is_hex(value, 64)
}

fn address(value: &Value) -> bool {
    is_hex(value, 40)
}

fn empty(value: &Value) -> bool {
    *value == json!([])
}

fn transactions(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(is_bytes))
}

fn check_forkchoice(params: &[Value]) -> Result<(), String> {
    has_form(&params[0], &[("headBlockHash", &hash), ("safeBlockHash", &hash), ("finalizedBlockHash", &hash)])?;
    if params[1].is_null() {
        return Ok(());
    }
    let yes = |value: &Value| *value == json!(true);
    let mut attributes = params[1].clone();
    let stated = attributes.as_object_mut().and_then(|attributes| attributes.remove("eip1559Params"));
    if stated.is_some_and(|stated| !is_hex(&stated, 16)) {
        return Err("eip1559Params".into());
    }
    has_form(
        &attributes,
        &[
            ("timestamp", &is_quantity),
            ("prevRandao", &hash),
            ("suggestedFeeRecipient", &address),
            ("withdrawals", &empty),
            ("parentBeaconBlockRoot", &hash),
            ("transactions", &transactions),
            ("noTxPool", &yes),
            ("gasLimit", &is_quantity),
        ],
    )
}

/// With what Isthmus added, the withdrawals' root and an empty list of requests, or without.
fn check_payload(params: &[Value], isthmus: bool) -> Result<(), String> {
    let bloom = |value: &Value| is_hex(value, 512);
    let mut payload = params[0].clone();
    let stated = payload.as_object_mut().and_then(|payload| payload.remove("withdrawalsRoot"));
    if stated.as_ref().is_some_and(hash) != isthmus || params.get(3).is_some_and(|requests| !empty(requests)) {
        return Err("withdrawalsRoot or executionRequests".into());
    }
    has_form(
        &payload,
        &[
            ("parentHash", &hash),
            ("feeRecipient", &address),
            ("stateRoot", &hash),
            ("receiptsRoot", &hash),
            ("logsBloom", &bloom),
            ("prevRandao", &hash),
            ("blockNumber", &is_quantity),
            ("gasLimit", &is_quantity),
            ("gasUsed", &is_quantity),
            ("timestamp", &is_quantity),
            ("extraData", &is_bytes),
            ("baseFeePerGas", &is_quantity),
            ("blockHash", &hash),
            ("transactions", &transactions),
            ("withdrawals", &empty),
            ("blobGasUsed", &is_quantity),
            ("excessBlobGas", &is_quantity),
        ],
    )?;
    if empty(&params[1]) && hash(&params[2]) { Ok(()) } else { Err("hashes or beacon root".into()) }
}

fn block() -> ExecutionPayloadV3 {
    ExecutionPayloadV3 {
        payload_inner: ExecutionPayloadV2 {
            payload_inner: ExecutionPayloadV1 {
                parent_hash: B256::repeat_byte(1),
                fee_recipient: Address::repeat_byte(2),
                state_root: B256::repeat_byte(3),
                receipts_root: B256::repeat_byte(4),
                logs_bloom: Default::default(),
                prev_randao: B256::repeat_byte(5),
                block_number: 7,
                gas_limit: 30_000_000,
                gas_used: 21_000,
                timestamp: 1_700_000_000,
                extra_data: Bytes::new(),
                base_fee_per_gas: U256::from(1_000_000_007u64),
                block_hash: B256::repeat_byte(6),
                transactions: vec![Bytes::from_static(&[0x7e, 1, 2])],
            },
            withdrawals: Vec::new(),
        },
        blob_gas_used: 0,
        excess_blob_gas: 0,
    }
}

fn answer(method: &str, params: &[Value]) -> Value {
    let failed = |code: i64, message: String| json!({ "error": { "code": code, "message": message } });
    let valid = json!({ "status": "VALID", "latestValidHash": B256::repeat_byte(6), "validationError": null });
    let checked = match (method, params.len()) {
        ("engine_forkchoiceUpdatedV3", 2) => check_forkchoice(params).map(|()| {
            let id = if params[1].is_null() { json!(null) } else { json!("0x0000000000000007") };
            json!({ "result": { "payloadStatus": valid, "payloadId": id } })
        }),
        ("engine_newPayloadV3", 3) => check_payload(params, false).map(|()| json!({ "result": valid })),
        ("engine_newPayloadV4", 4) => check_payload(params, true).map(|()| json!({ "result": valid })),
        ("engine_getPayloadV4", 1) => {
            let payload = OpExecutionPayloadV4::from_v3_with_withdrawals_root(block(), B256::repeat_byte(8));
            Ok(json!({ "result": {
                "executionPayload": payload, "blockValue": "0x0", "shouldOverrideBuilder": false, "executionRequests": [],
                "blobsBundle": { "commitments": [], "proofs": [], "blobs": [] }, "parentBeaconBlockRoot": B256::ZERO,
            } }))
        }
        ("engine_getPayloadV3", 1) if params[0] == json!("0x0000000000000007") => Ok(json!({ "result": {
            "executionPayload": block(), "blockValue": "0x0", "shouldOverrideBuilder": false,
            "blobsBundle": { "commitments": [], "proofs": [], "blobs": [] }, "parentBeaconBlockRoot": B256::ZERO,
        } })),
        ("engine_getPayloadV3", 1) => return failed(-38001, "Unknown payload".into()),
        _ => return failed(-32601, format!("the method {method} does not exist/is not available")),
    };
    checked.unwrap_or_else(|error| failed(-32602, error))
}

/// An engine. `broken` is sent instead of an answer, if there is one.
async fn engine(broken: Arc<Mutex<Option<String>>>) -> String {
    let handle = async move |headers: HeaderMap, body: String| -> Result<String, StatusCode> {
        let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let secret = JwtSecret::parse(SECRET).unwrap();
        if !(now - 60..=now + 60).any(|at| token == format!("Bearer {}", secret.token(at))) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        if let Some(text) = broken.lock().unwrap().clone() {
            return Ok(text);
        }
        let request: Value = serde_json::from_str(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let mut reply = answer(request["method"].as_str().unwrap(), request["params"].as_array().unwrap());
        reply["jsonrpc"] = json!("2.0");
        reply["id"] = request["id"].clone();
        Ok(reply.to_string())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(handle))).await });
    url
}

fn attributes() -> OpPayloadAttributes {
    OpPayloadAttributes {
        payload_attributes: PayloadAttributes {
            timestamp: 1_700_000_000,
            prev_randao: B256::repeat_byte(5),
            suggested_fee_recipient: Address::repeat_byte(2),
            withdrawals: Some(Vec::new()),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Default::default()
        },
        transactions: Some(vec![Bytes::from_static(&[0x7e, 1, 2])]),
        no_tx_pool: Some(true),
        gas_limit: Some(30_000_000),
        eip_1559_params: None,
        min_base_fee: None,
    }
}

#[tokio::test]
async fn a_block_is_begun_fetched_executed_and_chosen() {
    let url = engine(Arc::default()).await;
    let client: &dyn Engine = &EngineClient::new(url, JwtSecret::parse(SECRET).unwrap());
    let state = ForkchoiceState::same_hash(B256::repeat_byte(1));
    let begun = client.forkchoice_updated(state, Some(attributes())).await.unwrap();
    assert!(begun.is_valid());
    let envelope = client.get_payload(begun.payload_id.unwrap()).await.unwrap();
    assert_eq!(envelope.execution_payload, block());
    let status = client.new_payload(envelope.execution_payload, envelope.parent_beacon_block_root).await.unwrap();
    assert_eq!(status.status, PayloadStatusEnum::Valid);
    let chosen = client.forkchoice_updated(ForkchoiceState::same_hash(B256::repeat_byte(6)), None).await.unwrap();
    assert!(chosen.payload_id.is_none());
}

#[tokio::test]
async fn a_block_of_isthmus_is_fetched_and_executed() {
    let url = engine(Arc::default()).await;
    let client: &dyn Engine = &EngineClient::new(url, JwtSecret::parse(SECRET).unwrap());
    let attributes = OpPayloadAttributes { eip_1559_params: Some([0, 0, 0, 250, 0, 0, 0, 6].into()), ..attributes() };
    let state = ForkchoiceState::same_hash(B256::repeat_byte(1));
    let begun = client.forkchoice_updated(state, Some(attributes)).await.unwrap();
    let envelope = client.get_payload_v4(begun.payload_id.unwrap()).await.unwrap();
    let payload = envelope.execution_payload;
    assert_eq!((&payload.payload_inner, payload.withdrawals_root), (&block(), B256::repeat_byte(8)));
    let status = client.new_payload_v4(payload, envelope.parent_beacon_block_root).await.unwrap();
    assert_eq!(status.status, PayloadStatusEnum::Valid);
}

#[tokio::test]
async fn refusals_and_strangers_are_told_apart() {
    let broken = Arc::new(Mutex::new(None));
    let url = engine(broken.clone()).await;
    let client = EngineClient::new(url.clone(), JwtSecret::parse(SECRET).unwrap());
    let unknown = client.get_payload(PayloadId::new([9; 8])).await.unwrap_err();
    assert!(matches!(unknown, EngineError::Rpc { code: -38001, .. }), "{unknown}");
    let stranger = EngineClient::new(url, JwtSecret::parse(&"11".repeat(32)).unwrap());
    let refused = stranger.get_payload(PayloadId::new([9; 8])).await.unwrap_err();
    assert!(matches!(refused, EngineError::Unauthorized { status: 401, .. }), "{refused}");
    for text in [
        "",
        "no JSON",
        "[]",
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":999999,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
    ] {
        *broken.lock().unwrap() = Some(text.into());
        let error = client.get_payload(PayloadId::new([7; 8])).await.unwrap_err();
        assert!(matches!(error, EngineError::Malformed { .. }), "{text}: {error}");
    }
    let nobody = EngineClient::new("http://127.0.0.1:1", JwtSecret::parse(SECRET).unwrap());
    let error = nobody.get_payload(PayloadId::new([7; 8])).await.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
}
