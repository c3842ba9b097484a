"""Where secrets stand, and what only looks like one."""

from detection_cases.grammar import lines

PLACES = lines("""
{NAME}={VALUE}
export {NAME}="{VALUE}"
{NAME}: {VALUE}
{NAME}: '{VALUE}'  # rotate in {month}
"{NAME}": "{VALUE}",
{"env": {"{NAME}": "{VALUE}", "PORT": "{n4}"}}
const client = new Client({ key: "{VALUE}", region: "eu" });
client = Client("{VALUE}", timeout={n2})
{NAME} = '{VALUE}'
curl -H "Authorization: Bearer {VALUE}" {url}
ENV {NAME} {VALUE}
hey {first}, the key for {service} is {VALUE} - please do not share it
I get 401 with {VALUE}, what is wrong?
{ts} DEBUG {service} using credential {VALUE}
<add key="{NAME}" value="{VALUE}" />
$env:{NAME} = "{VALUE}"
- name: {NAME}¶  value: {VALUE}
Set-Cookie: t={VALUE}; Path=/; HttpOnly
[default]¶{NAME} = {VALUE}¶region = eu-west-1
{service} --token {VALUE} --verbose
diff --git a/.env b/.env¶-{NAME}=¶+{NAME}={VALUE}
The log shows `{VALUE}` in clear text, see ticket {n5}.
""")
BLOCKS = lines("""
{VALUE}
cat > key.pem <<EOF¶{VALUE}¶EOF
Here is the deploy key of {service}:¶¶{VALUE}¶¶Keep it safe, {first}.
tls.key: |¶{VALUE}
""")
GENERIC = lines("""
password={VALUE}
DB_PASSWORD={VALUE}
password: "{VALUE}"
api_key: {VALUE}
"apiKey": "{VALUE}"
"client_secret": "{VALUE}",
SECRET_KEY = '{VALUE}'
const authToken = "{VALUE}";
private static final String PASSWORD = "{VALUE}";
spring.datasource.password={VALUE}
mysql -u root -p{VALUE} orders
access_token={VALUE}&expires_in=3600
Authorization: Bearer {VALUE}
The admin password is {VALUE}, please change it after the first login.
Server=db;User Id=app;Password={VALUE};Encrypt=true
passwd = "{VALUE}"  # TODO move to the vault
Das Passwort lautet: {VALUE}
mot de passe : {VALUE}
""")
URLS = lines("""
postgres://app:{VALUE}@db.{domain}:5432/orders
DATABASE_URL=mysql://root:{VALUE}@10.0.{n1}.{n2}/shop
git clone https://{first}:{VALUE}@git.{domain}/{service}.git
redis://:{VALUE}@cache.{domain}:6379/0
mongodb+srv://svc:{VALUE}@cluster{n1}.{domain}/test
amqps://worker:{VALUE}@mq.{domain}/prod
""")
NEGATIVE = lines("""
API_KEY=your-api-key-here
api_key: "<YOUR_API_KEY>"
export TOKEN=${TOKEN}
password: ********
password=***
"client_secret": "xxxxxxxxxxxxxxxxxxxxxxxx"
AWS_SECRET_ACCESS_KEY=<paste the key from the console>
DB_PASSWORD={{ vault_db_password }}
token: ${{ secrets.DEPLOY_TOKEN_{n2} }}
password = os.environ["DB_PASSWORD"]
const apiKey = process.env.{NAME};
secret = get_secret("{service}/{path}")
SECRET_KEY = config("SECRET_KEY", default="")
The password must have {n2} characters and a digit.
Enter your password to continue, {first}.
"integrity": "sha512-{b64_86}=="
sha256:{hex64}  {service}.tar.gz
{service}=={version} --hash=sha256:{hex64}
commit {hex40}
Merge branch '{service}' at {hex7} into main ({hex40})
request_id={uuid} took {n4} ms
"id": "{uuid}", "parent": "{uuid}"
<img src="data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA{b64_120}">
url(data:font/woff2;base64,d09GMgABAAAA{b64_120})
ETag: "{hex40}"
docker pull registry.{domain}/{service}@sha256:{hex64}
h1:{b64_43}=
github.com/{last}/{service} v{version} h1:{b64_43}=
checksum = "{hex64}"
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{b64_43} {email}
-----BEGIN CERTIFICATE-----¶MIID{b64_60}¶{b64_64}¶-----END CERTIFICATE-----
-----BEGIN PUBLIC KEY-----¶MFkw{b64_60}¶-----END PUBLIC KEY-----
SHA256:{b64_43} {first}@laptop (ED25519)
AKIA... (cut for the ticket)
sk-... is the prefix of a key, ghp_ of another one
token_type=bearer&scope=read
max_tokens: {n4}
{"usage": {"prompt_tokens": {n3}, "completion_tokens": {n3}}}
"csrf_field_name": "authenticity_token"
const passwordInput = document.getElementById("password-field-{n3}");
def check_password(user, password): return user.verify(password)  # {n4}
password: changeme
api_key: REPLACE_ME
"token": null, "refresh": {n4}
postgres://user:password@localhost:5432/db_{n3}
https://{domain}/reset?step={n1}
https://user@{domain}/{path}
s3://{service}-{n5}/backup/{date}.tar
arn:aws:iam::{n10}12:role/{service}
bundle.{hex7}.js {hex40} {n6} bytes
key: {service}-{date}-cache-{hex40}
primary_key: order_id_{n3}
The secret of a good {dish} is patience.
Trace {hex40}{hex7} sampled at {pct}
W/"{hex40}"
uploads/{hex64}.jpg
nonce="{b64_22}=="
md5 {hex32}  backup-{date}.sql
xoxb-your-token-here
PASSWORD_RESET_TIMEOUT={n4}
""")
