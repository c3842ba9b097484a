"""Sentences and records with personal data; a slot in capitals becomes a span."""

from detection_cases.grammar import listed, sections

NAMES = {
    "PERSON": listed(
        "Amara Nwosu|Ulrich Steinbach|Noemi Quiroga|Pierre-Yves Lambert|Katarzyna Zielinska|"
        "Rohan Iyer|Siobhan Keane|Matteo Ricciardi|Ji-woo Han|Beatriz Antunes|Lars Holmgren|"
        "Fatima El Amrani|Gareth Pugh|Wilhelmina de Groot|Tyrone Baxter|Mei Ling Tan",
        "|",
    ),
    "ORGANIZATION": listed(
        "Brightwater Clinic|Falkner Maschinenbau GmbH|Lumiere Assurances|Greystone LLP|"
        "Puerto Azul SL|Northgate University|Osterberg AB|Kilmore Credit Union",
        "|",
    ),
    "TITLE": listed("Dr. Mr. Mrs. Ms. Prof."),
    "NRP": listed("Norwegian Catholic Brazilian Buddhist Korean Nigerian"),
    "LOCATION": listed(
        "Antwerp|Salamanca|Bergen|Wroclaw|Tucson|Kerala|Leeds|Toulouse|Brisbane", "|"
    ),
    "ADDRESS": listed(
        "4821 Larkspur Lane, Tucson, AZ 85719|17 Quarry Road, Leeds LS6 2BT|"
        "Birkenallee 9, 50931 Koeln|9 rue des Tanneurs, 31000 Toulouse|350 Fifth St, Apt 4B, "
        "Albany, NY 12207|Calle Olmo 22, 37001 Salamanca|P.O. Box 771, Boise, ID 83701|"
        "2200 Cedar Ave, Austin, TX 78704-1123",
        "|",
    ),
}
PII = sections("""
# prose
You can reach me at {EMAIL_ADDRESS} or on {PHONE_NUMBER} after six.
My card {CREDIT_CARD} was charged twice for the {product}.
Please wire the deposit to {IBAN_CODE} ({SWIFT_CODE}) by {weekday}.
I was born on {DATE_OF_BIRTH} in {LOCATION}, does the youth discount apply?
{PERSON} lives at {ADDRESS} and would like a visit.
The login came from {IP_ADDRESS}, which is not one of ours.
Her social security number is {US_SSN}, please correct it in the file.
For the 1040 he used the ITIN {US_ITIN}.
Passport {US_PASSPORT} expires in {month}, can you renew it?
My driver's license number is {US_DRIVER_LICENSE}, issued last spring.
The prescribing physician has DEA number {MEDICAL_LICENSE}.
Claims must show the NPI {US_NPI} of the provider.
Medicare number {US_MBI} was rejected by the portal.
Could you look up NHS number {UK_NHS} before the appointment?
My National Insurance number is {UK_NINO} and I started in {month}.
We paid {money} worth of bitcoin to {CRYPTO} on {date}.
Use routing number {ABA_ROUTING_NUMBER} for the direct deposit.
The phone with IMEI {IMEI} was reported stolen in {LOCATION}.
The car, VIN {VIN}, needs a new clutch.
The router with MAC {MAC_ADDRESS} keeps dropping the line.
Patient is {AGE} years old and has a cough since {weekday}.
She turned {AGE} years old last week and still runs marathons.
A {AGE}-year-old man from {LOCATION} was admitted at {time}.
Chart note for MRN {MRN}: blood pressure normal.
We left the trailer at {GPS}, bring the big jack.
See {URL} for my public profile.
{TITLE} {PERSON} of {ORGANIZATION} asked for a call at {PHONE_NUMBER}.
He is {NRP} and works for {ORGANIZATION} in {LOCATION}.
Ship it to {ADDRESS}; the courier may ring {PHONE_NUMBER}.
Hi, {PERSON} here. Change my mail from {EMAIL_ADDRESS} to {EMAIL_ADDRESS} please.
My old number {PHONE_NUMBER} is dead, the new one is {PHONE_NUMBER}.
Both cards, {CREDIT_CARD} and {CREDIT_CARD}, were declined at the till.
The transfer from {IBAN_CODE} to {IBAN_CODE} has not arrived.
Our VAT number is {EU_VAT}; please reverse the charge.
SSN on file: {US_SSN}. DOB: {DATE_OF_BIRTH}. Both are wrong.
Aadhaar {IN_AADHAAR} is linked to my new mobile {PHONE_NUMBER}.
PAN {IN_PAN} was quoted on the sale deed.
My tax file number is {AU_TFN}, the employer never asked.
NRIC {SG_NRIC_FIN} collected the parcel.
The witness ({PERSON}, {AGE}) gave the address {ADDRESS}.
Someone at {IP_ADDRESS} downloaded {URL} {n3} times.
I emailed {EMAIL_ADDRESS} three times and nobody at {ORGANIZATION} answered.
Ping me: {EMAIL_ADDRESS}.
call {PHONE_NUMBER} asap
pls refund to {CREDIT_CARD} thx
Text me on {PHONE_NUMBER}, I do not read mail.
For insurance: {PERSON}, date of birth {DATE_OF_BIRTH}, member {US_MBI}.
Our doctor ({MEDICAL_LICENSE} is the DEA registration) signed the form.
Wallet {CRYPTO} received the ransom, says the police report.
My uncle, aged {AGE}, lost his pass at {LOCATION} station.
Send the invoice with VAT ID {EU_VAT} to {EMAIL_ADDRESS}.
I forgot whether my driver's license {US_DRIVER_LICENSE} is still valid.
The sensor {MAC_ADDRESS} got the lease {IP_ADDRESS} from the new server.
Found a stray dog near {GPS}; owner please call {PHONE_NUMBER}.
# structured
{"name": "{PERSON}", "email": "{EMAIL_ADDRESS}", "phone": "{PHONE_NUMBER}"}
{"customer": {"id": {n6}, "dob": "{DATE_OF_BIRTH}", "ssn": "{US_SSN}"}, "ok": true}
{"payment": {"card_number": "{CREDIT_CARD}", "amount": {money}}}
{"iban":"{IBAN_CODE}","bic":"{SWIFT_CODE}","holder":"{PERSON}"}
{"device": {"imei": "{IMEI}", "mac": "{MAC_ADDRESS}", "ip": "{IP_ADDRESS}"}}
{"vehicle": {"vin": "{VIN}", "km": {n5}}}
{"patient": {"mrn": "{MRN}", "age": {AGE}, "npi": "{US_NPI}"}}
position={GPS} tracker={uuid}
{"wallet": "{CRYPTO}", "balance": 0.{n4}}
id,name,email,phone¶{n4},{PERSON},{EMAIL_ADDRESS},{PHONE_NUMBER}
order;card;total¶{n7};{CREDIT_CARD};{money}
nino,start_date¶{UK_NINO},{date}
Name: {PERSON}¶Date of birth: {DATE_OF_BIRTH}¶SSN: {US_SSN}¶Address: {ADDRESS}
Name: {PERSON} | NHS no: {UK_NHS} | DOB {DATE_OF_BIRTH}
Account holder: {PERSON}¶IBAN: {IBAN_CODE}¶BIC: {SWIFT_CODE}
<customer><mail>{EMAIL_ADDRESS}</mail><tel>{PHONE_NUMBER}</tel></customer>
<td>{PERSON}</td><td>{CREDIT_CARD}</td><td>{date}</td>
INSERT INTO users (mail, ip) VALUES ('{EMAIL_ADDRESS}', '{IP_ADDRESS}');
{ts} INFO login user={EMAIL_ADDRESS} ip={IP_ADDRESS} session={hex40}
{ts} WARN dhcpd: lease {IP_ADDRESS} for {MAC_ADDRESS} expired
{IP_ADDRESS} - - [{date}] "GET /{path} HTTP/1.1" 200 {n4}
customer:¶  mail: {EMAIL_ADDRESS}¶  mobile: "{PHONE_NUMBER}"¶  vat: {EU_VAT}
From: {PERSON} <{EMAIL_ADDRESS}>¶To: support¶Subject: order {n6}
{PERSON}¶{ORGANIZATION}¶{ADDRESS}¶Tel. {PHONE_NUMBER}¶{URL}
| name | age | MRN |¶|---|---|---|¶| {PERSON} | {AGE} | {MRN} |
BEGIN:VCARD¶FN:{PERSON}¶EMAIL:{EMAIL_ADDRESS}¶TEL:{PHONE_NUMBER}¶END:VCARD
Bank: {ORGANIZATION}, ABA: {ABA_ROUTING_NUMBER}, reference {n6}
passport_no={US_PASSPORT}&dob={DATE_OF_BIRTH}&lang=en
export SMTP_FROM={EMAIL_ADDRESS}¶export ALLOW={IP_ADDRESS}
MBI: {US_MBI}   NPI: {US_NPI}   DEA: {MEDICAL_LICENSE}
Driver License No. {US_DRIVER_LICENSE}  Class C  DOB {DATE_OF_BIRTH}
Invoice {n6}¶VAT reg. no. {EU_VAT}¶Pay to {IBAN_CODE}
[tel:{PHONE_NUMBER}](tel) and [{EMAIL_ADDRESS}](mail)
TFN: {AU_TFN}¶Super fund: {ORGANIZATION}
KYC: PAN={IN_PAN}; Aadhaar={IN_AADHAAR}; email={EMAIL_ADDRESS}
FIN/NRIC: {SG_NRIC_FIN}, contact {PHONE_NUMBER}
ITIN: {US_ITIN}  filing status: single
curl -H 'X-Forwarded-For: {IP_ADDRESS}' {URL}
git commit --author="{PERSON} <{EMAIL_ADDRESS}>" -m "fix {n4}"
# german
Meine Steuer-ID lautet {DE_TAX_ID}, bitte in der Akte ergänzen.
Steuerliche Identifikationsnummer: {DE_TAX_ID}, geboren am {DATE_OF_BIRTH}
Bitte überweisen Sie {money} EUR auf das Konto {IBAN_CODE}, BIC {SWIFT_CODE}.
Sie erreichen mich unter {PHONE_NUMBER} oder per E-Mail an {EMAIL_ADDRESS}.
Frau {PERSON}, geb. am {DATE_OF_BIRTH}, wohnt in {LOCATION}.
USt-IdNr.: {EU_VAT}, Rechnung {n6}
Die Kreditkarte {CREDIT_CARD} wurde am {date} gesperrt.
Der Zugriff kam von der IP-Adresse {IP_ADDRESS}.
# french
Mon numéro de sécurité sociale est le {FR_NIR}.
NIR : {FR_NIR}, née le {DATE_OF_BIRTH}
Veuillez me rappeler au {PHONE_NUMBER} ou écrire à {EMAIL_ADDRESS}.
Virement à effectuer sur l'IBAN {IBAN_CODE} avant le {date}.
Numéro de TVA : {EU_VAT}
M. {PERSON}, {ADDRESS}, carte bancaire {CREDIT_CARD}
# spanish
Mi DNI es {ES_NIF} y mi teléfono {PHONE_NUMBER}.
NIE/NIF: {ES_NIF}, fecha de nacimiento: {DATE_OF_BIRTH}
Ingrese {money} EUR en la cuenta {IBAN_CODE}.
Escríbame a {EMAIL_ADDRESS}, por favor.
La tarjeta {CREDIT_CARD} de {PERSON} ha caducado.
# italian
Il mio codice fiscale è {IT_FISCAL_CODE}.
C.F. {IT_FISCAL_CODE} - P.IVA {EU_VAT}
Nata il {DATE_OF_BIRTH}, tel. {PHONE_NUMBER}
Bonifico su {IBAN_CODE} intestato a {PERSON}
# other_languages
Mój PESEL to {PL_PESEL}, proszę o kontakt: {EMAIL_ADDRESS}.
PESEL: {PL_PESEL}, tel. {PHONE_NUMBER}
NIP UE {EU_VAT}, konto nie podane
Mijn BSN is {NL_BSN} en ik ben geboren op {DATE_OF_BIRTH}.
Burgerservicenummer: {NL_BSN}; e-mail: {EMAIL_ADDRESS}
Graag overmaken op {IBAN_CODE} t.n.v. {PERSON}
Mitt personnummer är {SE_PERSONNUMMER}.
Personnummer: {SE_PERSONNUMMER}, mobil {PHONE_NUMBER}
O meu telefone é {PHONE_NUMBER} e o e-mail {EMAIL_ADDRESS}.
Transferir {money} EUR para o IBAN {IBAN_CODE}
# decoy
Order {n8} was packed at {time} and left the north hub on {date}.
The order number is {bad_CREDIT_CARD}, which is not a card.
Tracking id JD{n10}{n6} was scanned in the north hub.
Release {version} replaces {version} on all {n3} hosts.
commit {hex40} fixes build {n5}
trace_id={uuid} span={hex7} took {n4} ms
{ts} INFO {service} processed {n6} rows
Checksum error: card {bad_CREDIT_CARD} is invalid.
The account {bad_IBAN_CODE} fails the IBAN check.
Steuer-ID {bad_DE_TAX_ID} ist ungültig.
PESEL {bad_PL_PESEL} ma błędną cyfrę kontrolną.
NHS number {bad_UK_NHS} fails the check digit.
El DNI {bad_ES_NIF} no es correcto.
Codice fiscale {bad_IT_FISCAL_CODE} errato.
Numéro de sécurité sociale {bad_FR_NIR} refusé, clé fausse.
Het BSN {bad_NL_BSN} voldoet niet aan de elfproef.
Personnummer {bad_SE_PERSONNUMMER} är felaktigt.
Aadhaar {bad_IN_AADHAAR} could not be verified: bad check digit.
NRIC {bad_SG_NRIC_FIN} is mistyped.
TFN {bad_AU_TFN} is not a valid tax file number.
VIN {bad_VIN} was rejected by the check.
IMEI {bad_IMEI} is fake.
NPI {bad_US_NPI} does not exist.
routing number {bad_ABA_ROUTING_NUMBER} failed the checksum
USt-IdNr. {bad_EU_VAT} ist falsch.
sha256:{hex64}
Chapter {n1}.{n1}.{n1}, section {n2}, page {n3}
Meeting on {date} at {time}, room {n3}, building {n1}
The invoice of {date} over {money} EUR is paid.
Part no. {n3}-{n3}-{n4} rev {n1} is out of stock
Batch {n4}-{n5}/{n2} was tested on {date}.
{"id": "{uuid}", "version": "{version}", "ts": {n10}, "rev": "{hex7}"}
pip install {service}=={version} took {n2}.{n2}s
Population of the district: {n6}, up {pct}
ISBN 978-3-{n2}-{n6}-{n1}, {n3} pages
The score was {n2}:{n2} after {n2} minutes.
grid {n5}, meter reading {n5}.{n1} kWh, tariff {n2}
SSN 000-{n2}-{n4} is used as a sample in the manual
Ticket SUP-{n5} was merged into SUP-{n5}
Temperature 1{n1}.{n1} C, pressure {n4} hPa, wind {n2} km/h
Ratio {n1}/{n2}, p = 0.0{n2}, n = {n4}
mac and cheese for {n1}, phone {n2} minutes before closing
The word email appears {n2} times, the word password {n1} times.
2024.{n1}.{n2}.{n3} is our calendar version scheme
Unix time {n10}, uptime {n7} s
flight LX{n4} from gate B{n2}, seat {n2}C
""")
