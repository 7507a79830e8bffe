from asyncio import Future

class TransactionManager:
    def wait_for_transaction_end(self) -> Future[None] | None: ...
