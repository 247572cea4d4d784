"""The Brain's side of the wall: what an agent may use to talk to Hands.

Owns nothing yet but the rule: an agent reaches Hands through the drop folder, the receipts and read-only views,
and through nothing else. May import `hands.core.intents`, `hands.core.units`, `hands.core.vocab` and the
ledger's reader. The one idea: whatever runs here is not trusted, so nothing here can be worth attacking.
"""
