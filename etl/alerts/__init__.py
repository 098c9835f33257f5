"""Telling people: whom, where and when (`routing`), in what words (`wording`, `chart`), and the way there (`channels`).

Pure but for `channels`, which sends. The outbox is the warehouse's, and `etl.delivery` brings the two together.
"""
