//! Keys: never overwritten, never printed.

use crate::process::{Finished, Process, lockstep};

const PASSWORD: &str = "correct horse battery staple";

#[test]
fn keys_are_kept_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str], password: Option<&str>| -> Finished {
        let mut command = lockstep(dir.path(), args);
        if let Some(password) = password {
            command.env("LOCKSTEP_PASSWORD", password);
        }
        Process::start(command).finish()
    };
    run(&["wallet", "new", "key.json"], None).refuses(&["no password", "LOCKSTEP_PASSWORD", "--password-file"]);
    run(&["wallet", "new", "key.json"], Some("")).refuses(&["password is empty"]);
    let made = run(&["wallet", "new", "key.json"], Some(PASSWORD));
    assert!(made.ok, "{}", made.err);
    let keystore = std::fs::read(dir.path().join("key.json")).unwrap();

    let again = run(&["wallet", "new", "key.json"], Some(PASSWORD));
    again.refuses(&["key.json exists and is not overwritten", "choose another path"]);
    run(&["wallet", "backup", "key.json", "key.json"], Some(PASSWORD)).refuses(&["exists and is not overwritten"]);
    assert_eq!(std::fs::read(dir.path().join("key.json")).unwrap(), keystore);

    let wrong = run(&["wallet", "show", "key.json"], Some("incorrect horse"));
    wrong.refuses(&["the password does not open", "key.json"]);
    run(&["wallet", "show", "none.json"], Some(PASSWORD)).refuses(&["none.json"]);

    std::fs::write(dir.path().join("password"), format!("{PASSWORD}\n")).unwrap();
    let shown = run(&["wallet", "show", "key.json", "--password-file", "password", "--json"], None).event("opened");
    let copied = run(&["wallet", "backup", "key.json", "copy.json", "--json"], Some(PASSWORD)).event("copied");
    assert_eq!(shown["address"], copied["address"]);
    assert_eq!(std::fs::read(dir.path().join("copy.json")).unwrap(), keystore);

    let keystore_text = String::from_utf8(keystore).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&keystore_text).unwrap();
    let ciphertext = parsed["crypto"]["ciphertext"].as_str().unwrap();
    for said in [&made, &again, &wrong] {
        for secret in [PASSWORD, "incorrect horse", ciphertext] {
            assert!(
                !said.out.contains(secret) && !said.err.contains(secret),
                "`{secret}` is in:\n{}{}",
                said.out,
                said.err
            );
        }
        // A private key has 64 hexadecimal digits; an address 40.
        let long_hex = |text: &str| text.split(|c: char| !c.is_ascii_hexdigit()).any(|word| word.len() >= 64);
        assert!(!long_hex(&said.out) && !long_hex(&said.err), "{}{}", said.out, said.err);
    }
}
