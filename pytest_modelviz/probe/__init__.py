"""Running a model under observation. The home of torch.

A pass is observed (`forward`, `pass_recorder`, `sketch`, `streams`), the model and its configuration are described
(`modules`, `configuration`, `containers`), and everything is put back (`purity`: `module_state` with train and eval,
`tensor_state`, `process` with all `switches`, `context_stacks`, `randomness`).
"""
