"""The agents: what happens to readings and events between two Kafka topics.

``topics``     the one catalogue of topics; ``schemas`` derives JSON Schemas and the AsyncAPI document from it
``envelope``   an event as a Kafka record and back (CloudEvents, binary mode)
``codecs``     what producers send, made into columns of readings; whatever the bytes, never an exception
``pipeline``   one partition's state and the stages that a batch passes: validate, profile, score, learn, watch
``transport``  batches, not events, through Faust's consumer
``agents``     one Faust app a role: ingest, observability, mlops, health
``worker``     hosts the roles of one process

This is the only package that speaks Faust. What it needs from outside (read models, artifacts, a trainer) it states
as protocols in ``ports``; ``oddtide.config`` hands in the adapters that fit.
"""
