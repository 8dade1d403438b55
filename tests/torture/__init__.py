"""The independent bill: a provider, its callers and an auditor that share no code with the product.

`provider` answers like the real ones and keeps an invoice; `load` calls and logs what a client saw; `reconcile` joins
both with the ledger, the budget store and the metrics into numbers; `harness` and `scenarios` run the product between
them. Nothing in this package imports `proxy` or `pricing`: it must be able to contradict them.
"""
