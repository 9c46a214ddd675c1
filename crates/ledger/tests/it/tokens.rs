//! Tokens: they are found by their id, belong to one service, and can only be revoked.

use amore_ledger::{ForProposals, LedgerError, Right, Token};
use amore_model::Proposal;

use crate::bench::*;

fn token(id: &str, proposals: ForProposals) -> Token {
    Token {
        id: id.to_owned(),
        name: "monitor".to_owned(),
        allows: Right::Process,
        proposals,
        hash: "ab".repeat(32),
        created: 10.0,
        by_user: "mia".to_owned(),
        expires: Some(100.0),
        revoked: None,
    }
}

on_both! {
    async fn a_token_is_stored_once_and_found_at_its_service_only(bench: Bench) {
        let (ledger, _) = bench.owned().await;
        let all = token("one", ForProposals::All);
        let some = token("two", ForProposals::These([Proposal(1), Proposal(2)].into()));
        for token in [&all, &some] {
            ledger.add_token("inbox:/a", token).await.unwrap();
        }
        assert_eq!(ledger.tokens("inbox:/a").await.unwrap(), [all.clone(), some.clone()]);
        assert_eq!(ledger.token("inbox:/a", "two").await.unwrap(), Some(some));
        assert_eq!(ledger.token("inbox:/b", "two").await.unwrap(), None);
        let again = ledger.add_token("inbox:/b", &all).await.unwrap_err();
        assert!(matches!(again, LedgerError::Misuse { .. }), "{again:?}");
    }

    async fn a_token_is_revoked_once_and_for_ever(bench: Bench) {
        let (ledger, _) = bench.owned().await;
        ledger.add_token("inbox:/a", &token("one", ForProposals::All)).await.unwrap();
        assert!(!ledger.revoke_token("inbox:/b", "one", 50.0).await.unwrap());
        assert!(ledger.token("inbox:/a", "one").await.unwrap().unwrap().is_valid(50.0));
        assert!(ledger.revoke_token("inbox:/a", "one", 50.0).await.unwrap());
        assert!(!ledger.revoke_token("inbox:/a", "one", 60.0).await.unwrap());
        let revoked = ledger.token("inbox:/a", "one").await.unwrap().unwrap();
        assert_eq!(revoked.revoked, Some(50.0));
        assert!(!revoked.is_valid(50.0));
    }
}

#[test]
fn a_token_expires() {
    assert!(token("one", ForProposals::All).is_valid(99.9));
    assert!(!token("one", ForProposals::All).is_valid(100.0));
}
