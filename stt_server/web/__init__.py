"""HTTP: the OpenAI contract and the job contract, over one queue."""
