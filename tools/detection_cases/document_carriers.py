"""Documents with places for prose: mails, pages, READMEs, invoices, contracts, wikis, code."""

from detection_cases.grammar import carriers

DOCUMENTS = carriers(r"""
==== mail text
From: {name} <{email}>
To: {name} <{email}>
Subject: ((Re: |Fwd: |)){product} - {month}
Date: {date} {time}

((Hi|Dear|Hello)) {first},

{pp}

((Best|Regards|Cheers|Kind regards)),
{name}
{company}
==== mail_thread text
{first} wrote on {date}:
> {s}
> {s}

{p}

On {weekday} {first} {last} <{email}> wrote:
>> {s}
>> {p}
==== newsletter text
{company} NEWS | {month}

{topic}
{p}

From our shop: {product}
{p}

You receive this mail because you subscribed. Unsubscribe: {url}
{s}
==== webpage text
<!DOCTYPE html>
<html lang="en"><head><title>{product} | {company}</title></head>
<body>
<header><h1>{product}</h1></header>
<main><p>{p}</p>
<p>{p}</p>
<aside class="box">{s}</aside></main>
<footer>{s} <a href="{url}">Contact</a></footer>
</body></html>
==== blog text
# What I learned about {topic}

*{date}, by {name}*

{pp}

## And then

{pp}

[More]({url})
==== readme text
# {service}

{s}

## Install

```bash
pip install {service}=={version}
```

## Usage

{p}

## Contributing

{p}
==== wiki text
= {team} handbook =
Last change: {first}, {date}

== Overview ==
{pp}

== Rules ==
%%* {s}

== See also ==
[[{path}]]
==== invoice text
{company}, {city}
Invoice no. {n6}                           {date}

%%{n1}  {product}                     {money} EUR
                                Total {money} EUR
{p}
Terms: {s}
==== contract text
SERVICE AGREEMENT between {company} and {company}

1. Subject
{p}
2. Obligations
{p}
3. Miscellaneous
{p}

{city}, {date}
==== minutes text
Minutes of the {team} meeting, {date}, {city}
Present: {name}, {name}, {name}

1) {s}
2) {s}
3) {p}

Next meeting: {weekday} {time}
==== recipe text
{dish} (serves {n1})

Ingredients: {n3} g flour, {n1} eggs, {n2} g butter, salt

Method
1. {s}
2. {s}
3. {s}
4. {s}

Tip: {p}
==== manual text
{product} - Quick start

WARNING: {s}

Step 1: {s}
Step 2: {s}
Step 3: {s}

Troubleshooting
{pp}
==== policy text
{company} - {team} policy v{version} (effective {date})

Purpose
{p}
Scope
{p}
Responsibilities
%%- {s}
==== paper text
Abstract. {p}

1 Introduction
{pp}

2 Method
{p}

References
[1] {last}, {first}: {topic}. {city}, 20{n2}.
==== cv text
{name}
{city} | {email}

PROFILE
{p}

EXPERIENCE
2019-2023 {company}, {team}: {s}
2015-2019 {company}: {s}

SKILLS {lang}, {lang}, public speaking
{s}
==== job_ad text
{company} is hiring: {lang} engineer ({city} or remote)

{p}

Your tasks
%%- {s}

Apply at {url}. {s}
==== faq text
Frequently asked questions: {product}

Q: {s}
A: {p}

Q: {s}
A: {p}
==== changelog text
## {version} - {date}

%%- {s}

### Notes
{p}
==== letter text
{name}
{company}
{city}, {date}

Re: {product}

Dear Sir or Madam,

{pp}

Yours faithfully
{name}
==== python text
'''{s}'''

import json


def load_{n3}(path):
    '''{s}

    {p}
    '''
    with open(path) as handle:
        return json.load(handle)  # {s}
==== javascript text
/**
 * {s}
 * {s}
 */
export async function fetchOrder(id) {
  // {s}
  const res = await fetch(`/{path}/${id}`);
  if (!res.ok) throw new Error("request failed");
  return res.json();
}
==== latex text
\section{Results}
% {s}
{p}
\begin{itemize}
%%\item {s}
\end{itemize}
{p}
==== slides text
Slide 1: {company} - {month} update
Slide 2: {s}
Slide 3: {s}
Speaker notes: {p}
Slide 4: Questions?
==== minutes_table text
| topic | owner | result |
|---|---|---|
%%| {topic} | {first} | {s} |

{p}
==== forum text
{first}{n2} - {date}
{p}

  > {s}

{last}99 - {date}
{p}
%%+1 {first}
==== press text
PRESS RELEASE - {city}, {date}

{company} presents {product}

{pp}

Contact: {name}, {email}
{s}
==== novel text
Chapter {n2}

{pp}

"{s}" said {first}, and closed the door. "{s}"

{pp}
==== exam text
{topic} - test paper, {n2} points

%%{n1}. {s}

{p}
==== html_mail text
<div style="font-family:Arial"><p>Dear {first},</p><p>{p}</p>
<table><tr><td>Order</td><td>{n7}</td></tr><tr><td>Total</td><td>{money} EUR</td></tr></table>
<p>{s}</p><p style="font-size:10px;color:#999">{s}</p></div>
==== terraform text
# {s}
resource "aws_instance" "{service}" {
  ami           = "ami-{hex7}a"
  instance_type = "t3.medium"
  tags = { owner = "{team}", note = "{s}" }
}
# {s}
==== runbook text
# Runbook: {service}

**Symptoms** {s}

**Steps**

1. {s}
2. {s}
3. {s}

**Escalation** {p}
==== product_page text
{product} - only {money} EUR

{p}

Customer reviews ({n3})
%%***** {first}: {s}
==== subtitles text
1
00:00:0{n1},100 --> 00:00:09,000
{s}

2
00:00:12,000 --> 00:00:19,500
{s}

3
00:00:21,000 --> 00:00:29,500
{s}
==== plain text
{pp}
""")
