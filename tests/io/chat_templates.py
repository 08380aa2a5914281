"""Prints chat_templates.h: chat templates of Jinja and what they make of two conversations.

    pip install jinja2 && python3 tests/io/chat_templates.py > tests/io/chat_templates.h
"""
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

T = {}
T['smollm2']="{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
T['llama3']="{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
T['llama2']="{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
T['mistral']="{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
T['gemma']="{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
T['phi3']="{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
T['zephyr']="{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"

FAMILIES = {"smollm2": "ChatML", "llama3": "Llama 3", "llama2": "Llama 2", "mistral": "Mistral",
            "gemma": "Gemma", "phi3": "Phi-3", "zephyr": "Zephyr"}
PLAIN = [{"role": "user", "content": " Hi \n"}, {"role": "assistant", "content": " Hello. "},
         {"role": "user", "content": "Bye"}]
SYSTEM = [{"role": "system", "content": "Be kind."}] + PLAIN


def fail(message):
    raise jinja2.exceptions.TemplateError(message)


def render(template, messages, asks=False):
    """As transformers does it; a C++ literal, or nullptr where the template refuses."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = fail
    try:
        text = environment.from_string(template).render(
            messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=asks)
    except jinja2.exceptions.TemplateError:
        return "nullptr"
    return f'R"~({text})~"'


print("""// What Jinja makes of chat templates: printed by chat_templates.py.
#pragma once

namespace puzzle {

/// Two conversations of chat_template_test.cpp; `system`, with a system message, is nullptr where the
/// template refuses one.
struct RenderedChat {
  const char* name;
  const char* family;
  const char* jinja;
  const char* plain;
  const char* plain_asking;
  const char* system;
};

// clang-format off
inline constexpr RenderedChat kRenderedChats[] = {""")
for name, template in T.items():
    parts = [f'"{name}"', f'"{FAMILIES[name]}"', f'R"~({template})~"', render(template, PLAIN),
             render(template, PLAIN, True), render(template, SYSTEM)]
    print("    {" + ",\n     ".join(parts) + "},")
print("""};
// clang-format on

}  // namespace puzzle""")
