"""Bulk work on Ray: what one process does, dealt out to workers that hold the models, with the same results.

A cluster is connected to (``cluster``), and a pool of workers runs over pieces of work (``pool``). A piece is what one
process also does in one go: a group of files, a call of a pipeline, a part of a data set; so batches hold the same
pictures, and floats round the same way. Records, findings and the plan are written by the process that asked for the
work, with the writers that it has without Ray.
"""
