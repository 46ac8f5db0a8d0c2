"""A provider's refusals, one of each scope: what the stub answers, and the rules by which the webhook sender reads it."""


def refuse(where, code, status=400):
    return f'{where}=status:{status}:{{"error":{{"code":"{code}","message":"because {code}"}}}}'


RULES = {
    "error_pointer": "/error/code", "text_pointer": "/error/message",
    "error_11": "code:tpl -> rejected/template stop",
    "error_12": "code:spam -> rejected/device stop",
    "error_13": "code:locked -> rejected/account stop",
    "error_14": "code:param -> rejected/message alike=3",
    "error_15": "code:busy -> retry/endpoint retry=1s",
    "error_16": "code:pair -> retry/pair",
    "error_17": "code:463 -> retry/new_contacts retry=1h",
    "error_18": "code:131049 -> rejected/recipient retry=1d",
}
