// A certified OpenID provider (npm: oidc-provider) as the authorization server of the tests.
//
//   node server.mjs MODULE SETTINGS
//
// MODULE is the provider's file, SETTINGS a JSON object: port, clients, resource, seconds. It logs
// in whoever asks, and answers a token exchange (RFC 8693) for ID tokens that it signed itself.
const [, , module, text] = process.argv;
const { default: Provider } = await import(module);
const settings = JSON.parse(text);
const issuer = `http://127.0.0.1:${settings.port}`;

const provider = new Provider(issuer, {
  clients: settings.clients,
  scopes: ["openid", "offline_access", "mail.read"],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  cookies: { keys: ["only for tests"] },
  ttl: { AccessToken: settings.seconds, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600, ClientCredentials: settings.seconds, IdToken: 600, AuthorizationCode: 60 },
  features: {
    devInteractions: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => {
        if (resource !== settings.resource) throw new Error("invalid_target");
        return { scope: "mail.read", audience: resource, accessTokenFormat: "opaque", accessTokenTTL: settings.seconds };
      },
    },
  },
});

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const parameters = ["subject_token", "subject_token_type", "requested_token_type", "scope", "resource"];
provider.registerGrantType(EXCHANGE, async (ctx) => {
  const { subject_token: shown, resource } = ctx.oidc.params;
  const claims = JSON.parse(Buffer.from(shown.split(".")[1], "base64url"));
  const valid = await provider.IdToken.validate(shown, ctx.oidc.client).then(() => true, () => false);
  if (!valid) { ctx.status = 400; ctx.body = { error: "invalid_grant" }; return; }
  const { AccessToken, ResourceServer } = provider;
  const token = new AccessToken({ accountId: claims.sub, client: ctx.oidc.client, scope: "mail.read", gty: "token_exchange" });
  token.resourceServer = new ResourceServer(resource, { scope: "mail.read", audience: resource, accessTokenFormat: "opaque", accessTokenTTL: settings.seconds });
  const value = await token.save();
  ctx.body = { access_token: value, token_type: "Bearer", expires_in: settings.seconds, issued_token_type: "urn:ietf:params:oauth:token-type:access_token", scope: "mail.read" };
}, parameters, []);

provider.listen(settings.port, "127.0.0.1", () => process.stdout.write("ready\n"));
