// What Jinja makes of chat templates: printed by chat_templates.py.
#pragma once

namespace puzzle {

/// Two conversations of chat_template_test.cpp; `system`, with a system message, is nullptr where
/// the template refuses one.
struct RenderedChat {
  const char* name;
  const char* family;
  const char* jinja;
  const char* plain;
  const char* plain_asking;
  const char* system;
};

// clang-format off
inline constexpr RenderedChat kRenderedChats[] = {
    {"smollm2",
     "ChatML",
     R"~({% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %})~",
     R"~(<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
<|im_start|>user
 Hi 
<|im_end|>
<|im_start|>assistant
 Hello. <|im_end|>
<|im_start|>user
Bye<|im_end|>
)~",
     R"~(<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
<|im_start|>user
 Hi 
<|im_end|>
<|im_start|>assistant
 Hello. <|im_end|>
<|im_start|>user
Bye<|im_end|>
<|im_start|>assistant
)~",
     R"~(<|im_start|>system
Be kind.<|im_end|>
<|im_start|>user
 Hi 
<|im_end|>
<|im_start|>assistant
 Hello. <|im_end|>
<|im_start|>user
Bye<|im_end|>
)~"},
    {"llama3",
     "Llama 3",
     R"~({% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>

'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>

' }}{% endif %})~",
     R"~(<s><|start_header_id|>user<|end_header_id|>

Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>

Hello.<|eot_id|><|start_header_id|>user<|end_header_id|>

Bye<|eot_id|>)~",
     R"~(<s><|start_header_id|>user<|end_header_id|>

Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>

Hello.<|eot_id|><|start_header_id|>user<|end_header_id|>

Bye<|eot_id|><|start_header_id|>assistant<|end_header_id|>

)~",
     R"~(<s><|start_header_id|>system<|end_header_id|>

Be kind.<|eot_id|><|start_header_id|>user<|end_header_id|>

Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>

Hello.<|eot_id|><|start_header_id|>user<|end_header_id|>

Bye<|eot_id|>)~"},
    {"llama2",
     "Llama 2",
     R"~({% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %})~",
     R"~(<s>[INST] Hi [/INST] Hello. </s><s>[INST] Bye [/INST])~",
     R"~(<s>[INST] Hi [/INST] Hello. </s><s>[INST] Bye [/INST])~",
     R"~(<s>[INST] <<SYS>>
Be kind.
<</SYS>>

 Hi [/INST] Hello. </s><s>[INST] Bye [/INST])~"},
    {"mistral",
     "Mistral",
     R"~({{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %})~",
     R"~(<s>[INST]  Hi 
 [/INST] Hello. </s>[INST] Bye [/INST])~",
     R"~(<s>[INST]  Hi 
 [/INST] Hello. </s>[INST] Bye [/INST])~",
     nullptr},
    {"gemma",
     "Gemma",
     R"~({{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %})~",
     R"~(<s><start_of_turn>user
Hi<end_of_turn>
<start_of_turn>model
Hello.<end_of_turn>
<start_of_turn>user
Bye<end_of_turn>
)~",
     R"~(<s><start_of_turn>user
Hi<end_of_turn>
<start_of_turn>model
Hello.<end_of_turn>
<start_of_turn>user
Bye<end_of_turn>
<start_of_turn>model
)~",
     nullptr},
    {"phi3",
     "Phi-3",
     R"~({% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'user' %}{{'<|user|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
' + message['content'] + '<|end|>
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %})~",
     R"~(<|user|>
 Hi 
<|end|>
<|assistant|>
 Hello. <|end|>
<|user|>
Bye<|end|>
</s>)~",
     R"~(<|user|>
 Hi 
<|end|>
<|assistant|>
 Hello. <|end|>
<|user|>
Bye<|end|>
<|assistant|>
)~",
     R"~(<|system|>
Be kind.<|end|>
<|user|>
 Hi 
<|end|>
<|assistant|>
 Hello. <|end|>
<|user|>
Bye<|end|>
</s>)~"},
    {"zephyr",
     "Zephyr",
     R"~({% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %})~",
     R"~(<|user|>
 Hi 
</s>
<|assistant|>
 Hello. </s>
<|user|>
Bye</s>
)~",
     R"~(<|user|>
 Hi 
</s>
<|assistant|>
 Hello. </s>
<|user|>
Bye</s>
<|assistant|>
)~",
     R"~(<|system|>
Be kind.</s>
<|user|>
 Hi 
</s>
<|assistant|>
 Hello. </s>
<|user|>
Bye</s>
)~"},
};
// clang-format on

}  // namespace puzzle
