"""Benign sentences by topic: what mails, tickets, pages and manuals are filled with."""

from detection_cases.grammar import sections

PROSE = sections("""
# support
The customer says the {product} stopped working after the update on {date}.
We replaced the power adapter and asked them to try again.
Refund of {money} EUR approved by {name}, should arrive within five working days.
Please call the customer back before {time}, she works night shifts.
Box arrived with a dented corner, but the content was fine.
I have waited three weeks for an answer and I am losing my patience!!!
Can you send me the return label again? The first one expired.
Warranty was registered under order {n7}, so the repair is free.
He wants to speak to a manager and not to a chatbot.
# project
The milestone moved to {weekday} because the {team} team is short of people.
{name} will own the migration and report to the steering group every {weekday}.
Decision: keep the old importer until the end of {month}.
Action item: {first} to update the risk register.
We agreed not to add scope before the audit.
Budget is at {pct}, with two invoices still missing.
Send me your slides by {weekday} noon so that I can merge them.
The pilot in {city} went better than expected.
# shopping
Sturdy, light and easy to clean; I would buy it again.
The {product} is too loud for a small flat.
Battery lasts about {n1} days with normal use, less in winter.
Not worth the money. Returned it the next day.
Size runs small, so order one number up.
Delivery to {city} took two days, well packed.
Do not put it in the dishwasher, the coating comes off.
The manual is only in Dutch, but the setup is obvious.
# cooking
Heat the oven to 180 degrees and grease the tin.
Fold in the egg whites gently and do not stir too long.
Add the garlic only at the end, otherwise it turns bitter.
Simmer for {n2} minutes, then remove the lid.
Serve the {dish} with bread and a green salad.
Set a third of the sauce aside for later.
If the dough is sticky, add a spoon of flour and knead again.
Let it rest overnight; the flavour improves.
# howto
Open Settings, choose Accounts and click Add.
Enter the code that was sent to your phone and confirm.
Restart the device before you continue with step {n1}.
Do not disconnect the cable while the light is blinking.
Copy the file to the folder `/opt/app/conf` and run the installer again.
Make sure that you are signed in as the owner of the workspace.
Delete the old profile, then create a new one with the same name.
If nothing happens, contact the help desk and mention error {n4}.
Always make a backup first.
# devops
Run `make deploy` from the release branch and watch the dashboard.
The {service} pods restarted {n2} times since {time}.
Roll back with `kubectl rollout undo deploy/{service}` when the error rate exceeds {pct}.
Set `MAX_CONN={n3}` and restart the worker.
Latency went from {n2} ms to {n3} ms after release {version}.
The certificate expires on {date}; renew it with the script in `ops/`.
Root cause was a missing index on the orders table.
You must drain the node before you reboot it.
Never run the cleanup job against production without a dry run.
# contract
The Supplier shall deliver the goods within thirty (30) days of the order.
Either party may terminate this agreement with {n2} days' written notice.
The Client shall not disclose confidential information to any third party.
Payment is due upon receipt of the invoice, without deduction.
This clause survives the termination of the agreement.
Any amendment must be made in writing and signed by both parties.
The courts of {city} have exclusive jurisdiction.
Notices shall be sent to {email} with a copy by registered post.
In the event of a conflict, the terms of this schedule prevail over the earlier terms.
# policy
Employees must lock their screen when they leave the desk.
Passwords must not be shared, not even with a colleague or the help desk.
Visitors are to be accompanied at all times.
Expenses above {money} EUR need the approval of a director.
Personal data is deleted after the retention period has ended.
Report a lost laptop to the service desk at once.
Access rights are reviewed every quarter by the {team} team.
You may work from abroad for up to {n2} days a year.
# travel
Your flight to {city} departs at {time} from gate B{n2}.
Check-in opens three hours before departure.
The hotel is a ten-minute walk from the old harbour.
Bring a copy of your passport and a printed ticket.
Take tram {n1} towards the market and get off at the third stop.
We recommend booking the museum in advance.
Breakfast is served until half past ten.
Rain is expected on {weekday}, so pack a jacket.
# finance
Revenue grew by {pct} compared with the same quarter last year.
Operating costs rose because of freight and energy.
The board proposes a dividend of {money} per share.
Inventory was written down by {n2} million.
Please transfer {money} EUR to the account below and quote invoice {n6}.
We expect margins to recover in the second half.
Currency effects reduced sales by {pct}.
The auditors raised no objections.
# science
The samples were stored at minus 80 degrees for {n2} weeks.
We found no significant difference between the two groups.
Earlier work reported a weaker effect, possibly because of the small sample.
The model was trained on {n5} images and tested on a separate set.
Wetlands store more carbon per hectare than forests do.
The authors caution that the result may not hold for older patients.
Each plot was measured twice a day by two observers.
Further work should repeat the experiment in {city}.
# health
Take one tablet twice a day after meals.
Do not drive or use machines until you know how it affects you.
Your appointment with Dr. {last} is on {weekday} at {time}.
Blood pressure was normal, weight unchanged since {month}.
Stop the treatment and call us if you notice a rash.
Drink enough water and avoid alcohol.
The physiotherapist suggested exercises for the shoulder.
# school
Read chapter {n1} and answer questions one to five.
Essays are due on {weekday}; late work loses a mark a day.
Write your name on every sheet and do not use red ink.
The school trip to {city} costs {n2} EUR per pupil.
Parents are kindly asked to sign the form and return it.
Explain in your own words what the poet means by the last line.
Group B presents its poster on {topic} next week.
# hr
We are looking for a {lang} developer with three years of experience.
Welcome to the {team} team! Your buddy for the first weeks is {name}.
Please fill in the form and send it to {email} before {weekday}.
Your holiday request from {date} was approved.
The annual review takes place in {month}.
Complete the security training within your first ten days.
Remember to submit your time sheet.
# home
Mow the lawn when it is dry and leave the cuttings.
Turn off the water before you open the valve.
The boiler shows error F{n2}; press reset and hold for ten seconds.
Hang the curtains at the height of the frame.
Sand the wood, wipe it and apply two thin coats.
Neighbours complained about the noise after {time}.
The bins are emptied every second {weekday}.
# code
The function returns a new list and leaves its argument alone.
Call `close()` when you are done, or use it as a context manager.
Deprecated since {version}: use `load_all` instead.
Fixes a race between the flush timer and shutdown.
Tests were flaky because they relied on the system clock.
TODO: replace the regular expression with a real parser.
This option overrides the value from the configuration file.
Add `--verbose` to see every request.
Note that the order of the keys is not guaranteed.
# news
The council voted {n2} to {n1} in favour of the new bridge.
Police asked witnesses to come forward.
The match ended in a draw after a late penalty.
Fishermen in {city} fear for their income.
The minister rejected calls to resign and announced a review.
Heavy snow closed the pass for the second day.
A spokesman for {company} declined to comment.
The exhibition runs until the end of {month}.
# sales
Met {name} at the fair; interested in {n2} seats from {month}.
They currently use a spreadsheet and a competitor's tool.
Next step: send the offer and book a demo for {weekday}.
Price is the main objection, they asked for a discount of {pct}.
Decision maker is the head of {team}, not our contact.
Follow up after the holidays.
Contract signed, hand over to onboarding.
# notice
System maintenance takes place on {weekday} from {time}.
All users must sign out before the maintenance window begins.
Important: the car park is closed this week.
Attention all staff: the fire drill starts at {time}, leave the building at once.
New instructions for expense reports are on the intranet; the previous form is no longer valid.
Admin rights on laptops end on {date}, see the FAQ.
URGENT: please confirm your attendance by tonight.
Read this before you install version {version}.
# assistant
Ask the assistant for an overview of your open orders.
The AI suggests a reply, and you decide whether to send it.
Our chatbot answers within seconds and hands over to a person when it must.
The model summarises calls with an accuracy of {pct}.
You can switch the assistant off in your profile.
Agents use the knowledge base to answer questions about {product}.
""")

FOREIGN = {
    "de": sections("""
# de
Bitte senden Sie uns die unterschriebene Fassung bis {date} zurück.
Die Lieferung nach {city} verzögert sich um {n1} Tage.
Der Kunde bittet um Rückruf nach {time} Uhr.
Im Anhang finden Sie die Rechnung Nr. {n6} über {money} EUR.
Den Ofen vorheizen und die Form einfetten.
Das Protokoll der letzten Sitzung wurde genehmigt.
Vergessen Sie nicht, das Gerät vor dem Reinigen auszuschalten.
""")["de"],
    "fr": sections("""
# fr
Merci de nous renvoyer le contrat signé avant le {date}.
La livraison est prévue entre {time} et midi.
Le client souhaite être rappelé par {name}.
Veuillez trouver ci-joint la facture {n6} de {money} EUR.
Laissez cuire à feu doux pendant {n2} minutes.
N'oubliez pas de couper le courant avant toute intervention.
La réunion de l'équipe aura lieu à {city}.
""")["fr"],
    "es": sections("""
# es
Adjunto le envío el presupuesto solicitado por {name}.
El pedido {n7} salió ayer del almacén de {city}.
No olvide apagar el equipo antes de abrir la tapa.
La reunión se aplaza hasta nuevo aviso.
Añada la sal y remueva durante {n2} minutos.
Rogamos confirme su asistencia antes del {date}.
""")["es"],
    "it": sections("""
# it
In allegato trova la fattura {n6} di {money} EUR.
Il corriere passerà tra le {time} e le 18.
Si prega di compilare il modulo e di inviarlo a {email}.
Mescolare bene e lasciare riposare per {n2} minuti.
La riunione di {city} è confermata.
Non aprire lo sportello durante il lavaggio.
""")["it"],
    "pt": sections("""
# pt
Segue em anexo o orçamento pedido por {name}.
A entrega em {city} atrasa {n1} dias.
Por favor confirme a sua presença até {date}.
Deixe cozinhar em lume brando durante {n2} minutos.
O cliente pede que lhe telefonem depois das {time}.
Não desligue o aparelho durante a atualização.
""")["pt"],
    "nl": sections("""
# nl
In de bijlage vindt u factuur {n6} van {money} EUR.
De levering in {city} komt {n1} dagen later.
Wilt u het formulier voor {date} terugsturen?
Vergeet niet het apparaat uit te zetten voor het schoonmaken.
Laat de soep {n2} minuten zachtjes koken.
De klant wil na {time} uur worden gebeld.
""")["nl"],
}
