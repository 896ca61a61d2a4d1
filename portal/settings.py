"""Settings: one module, which only reads. The environment is read in one block.

Tools that open no connection load it without an environment. What must not run without one refuses
(portal/foundation/environment.py).
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import bootstrap_wrapper
import environ
from redis.backoff import NoBackoff
from redis.retry import Retry

from portal.foundation import logs

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = BASE_DIR / "var"

# --- environment ---------------------------------------------------------------------------------------------

env = environ.Env()
DEMO = env.bool("DEMO", default=False)
DEBUG = env.bool("DEBUG", default=False)
# Why the portal is not to be served: a sentence for each variable that is missing.
MISSING = []


def _required(name: str, hint: str = "Set it in the environment; see “Configuration” in README.md.") -> Any:
    value = os.environ.get(name, "")
    if not value:
        MISSING.append(f"{name} is not set. {hint}")
    return value


def _keys(name: str) -> list[Any]:
    return [key.strip() for key in _required(name).split(",") if key.strip()]


SECRET_KEY = _required("SECRET_KEY")
# Comma-separated; the first makes, all verify.
TOKEN_KEYS = _keys("TOKEN_KEYS")
LEDGER_KEYS = _keys("LEDGER_KEYS")
FIELD_ENCRYPTION_KEYS = _keys("FIELD_ENCRYPTION_KEYS")
PORT = env.int("PORT", default=8000)
BASE_URL = (
    os.environ.get("BASE_URL", "")
    if DEMO
    else _required("BASE_URL", "Set it to the address people reach, such as https://apps.example.com.")
)
BASE_URL = BASE_URL.rstrip("/") or f"http://127.0.0.1:{PORT}"
# How many proxies stand in front, each of which appends to X-Forwarded-For: one ends TLS, where there is https.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=1 if BASE_URL.startswith("https://") else 0)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]", "testserver"] if DEMO else [])
# Where the ledger's checkpoints are appended: outside the database, best where nothing can be rewritten.
CHECKPOINT_FILE = env.str("CHECKPOINT_FILE", default=str(VAR / "checkpoints.jsonl") if DEMO else "")
# Whether an app's vendors may be on this machine (E3): for tests and the demo.
EGRESS_ALLOW_LOOPBACK = env.bool("EGRESS_ALLOW_LOOPBACK", default=DEMO)
EMAIL = env.email_url("EMAIL_URL", default="smtp://localhost:25")
DATABASE_URL = env.str("DATABASE_URL", default="")
REDIS_URL = env.str("REDIS_URL", default="")
# Off for a pooler in transaction mode that knows no prepared statements.
PREPARED_STATEMENTS = env.bool("PREPARED_STATEMENTS", default=True)
if not (DATABASE_URL and REDIS_URL):
    _absent = " and ".join(name for name in ("DATABASE_URL", "REDIS_URL") if not os.environ.get(name))
    MISSING.append(f"{_absent} must be set. Only the demo and tests start servers of their own.")

# --- applications --------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "portal",
    "portal.accounts",
    "portal.ledger",
    "portal.demo",
    "portal.demo.sandbox",
    "credentials",
    "consent",
    "marketplace",
    "oauth2_provider",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "crispy_forms",
    "crispy_bootstrap5",
    "django_htmx",
    "heroicons",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

# They come first, so that no answer goes without headers; consent/lane/ answers with these alone.
HEADERS_MIDDLEWARE = [
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "portal.middleware.HeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
]
MIDDLEWARE = [
    *HEADERS_MIDDLEWARE,
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.CompressionMiddleware",
    "portal.middleware.HeadMiddleware",
    "portal.middleware.DatabaseAwayMiddleware",
    "portal.middleware.PublicMetadataMiddleware",
    "portal.middleware.BoundsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.accounts.entrance.NextPageMiddleware",
    "portal.middleware.TimeZoneMiddleware",
    "portal.middleware.OneActMiddleware",
    "portal.middleware.MethodNotAllowedMiddleware",
    "portal.middleware.LoginRequiredMiddleware",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
# The server answers this by itself, from a file.
HEALTH_PATH = "/healthz"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.chrome",
                "portal.theme.theme",
            ],
            "libraries": {
                name: f"portal.foundation.templatetags.{name}" for name in ("cases", "counts", "once", "times")
            },
        },
    },
]
CRISPY_ALLOWED_TEMPLATE_PACKS = CRISPY_TEMPLATE_PACK = "bootstrap5"

# --- database, Redis, Celery ---------------------------------------------------------------------------------

# Without an address: Django's dummy, which refuses every query.
DATABASES = {
    "default": {
        **env.db_url_config(DATABASE_URL),
        "ENGINE": "portal.foundation.postgres",
        "OPTIONS": {
            # Four seconds, so that a 503 comes within five.
            "pool": {"min_size": 1, "max_size": 16, "timeout": 4},
            "connect_timeout": 4,
            # Milliseconds until a host that vanished is given up.
            "tcp_user_timeout": 10_000,
        },
        "CONN_HEALTH_CHECKS": True,
    }
    if DATABASE_URL
    else {}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Nobody waits longer than this for Redis, without which the portal works.
REDIS_OPTIONS = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5, "retry": Retry(NoBackoff(), 0)}
CACHES = {
    "default": {
        "BACKEND": "portal.foundation.limits.cache.Cache",
        "LOCATION": REDIS_URL,
        "KEY_FUNCTION": "portal.foundation.limits.cache.cache_key",
        "OPTIONS": REDIS_OPTIONS,
    }
}
SESSION_ENGINE = "portal.accounts.sessions"

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# With visibility_timeout alone nothing comes back after a worker is killed; with these two it does.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 60,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    # Of workers and beat. A request waits no longer than REDIS_OPTIONS says (portal/foundation/broker.py).
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "max_retries": 0,
    "interval_start": 0,
}
# Workers reconnect for as long as it takes, also where Redis answers with errors, such as while it loads or is full.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_CREATE_MISSING_QUEUES = True

# --- people --------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "home"
# Where a person without a team starts one.
TEAM_START_URL = "settings"
# Where a person lands who accepted an invitation to an account, which the address names.
MEMBER_START_URL = "installation-list"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
# In the browser that signed up, which waits this long: mail can take a while.
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_LOGIN_TIMEOUT = 3600  # seconds
ACCOUNT_ADAPTER = "portal.accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {"login": "portal.accounts.forms.LoginForm", "signup": "portal.accounts.forms.SignupForm"}
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = True
# Of a changed password, address or second factor.
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = BASE_URL.partition(":")[0]
MFA_ADAPTER = "portal.accounts.adapter.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "App Management Portal"

EMAIL_BACKEND = EMAIL["EMAIL_BACKEND"]
for _name in ("HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL", "FILE_PATH"):
    if f"EMAIL_{_name}" in EMAIL:
        globals()[f"EMAIL_{_name}"] = EMAIL[f"EMAIL_{_name}"]
if DEMO and "EMAIL_URL" not in os.environ:
    # Read at /dev/mail/.
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = VAR / "mail"
EMAIL_TIMEOUT = 20  # seconds
DEFAULT_FROM_EMAIL = EMAIL.get("EMAIL_HOST_USER") or "portal@localhost"

# --- authorization server ------------------------------------------------------------------------------------

OAUTH2_PROVIDER_APPLICATION_MODEL = "credentials.Client"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "consent.AccessToken"
OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = "consent.RefreshToken"
OAUTH2_PROVIDER_GRANT_MODEL = "consent.AuthorizationCode"
OAUTH2_PROVIDER_ID_TOKEN_MODEL = "oauth2_provider.IDToken"
OAUTH2_PROVIDER_DEVICE_GRANT_MODEL = "oauth2_provider.DeviceGrant"
OAUTH2_PROVIDER = {
    "OAUTH2_VALIDATOR_CLASS": "consent.server.Validator",
    "OAUTH2_SERVER_CLASS": "consent.server.Server",
    "OAUTH2_BACKEND_CLASS": "consent.server.Core",
    "SCOPES_BACKEND_CLASS": "consent.server.Scopes",
    "APPLICATION_ADMIN_CLASS": "credentials.admin.ClientAdmin",
    "ACCESS_TOKEN_ADMIN_CLASS": "consent.admin.HiddenAdmin",
    "GRANT_ADMIN_CLASS": "consent.admin.HiddenAdmin",
    "ID_TOKEN_ADMIN_CLASS": "consent.admin.HiddenAdmin",
    "REFRESH_TOKEN_ADMIN_CLASS": "consent.admin.HiddenAdmin",
    "CLIENT_SECRET_HASHER": "default",
    "ACCESS_TOKEN_EXPIRE_SECONDS": 1800,
    "AUTHORIZATION_CODE_EXPIRE_SECONDS": 60,
    "PKCE_REQUIRED": True,
    # The toolkit's own check, which this server does not use: credentials/redirect_uris.py adds loopback http (C5).
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    "ALLOW_URI_WILDCARDS": False,
    "REQUEST_APPROVAL_PROMPT": "force",
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "OIDC_ENABLED": False,
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
}

ACCESS_TOKEN_LIFETIME = timedelta(minutes=30)  # T5
CONSENT_LIFETIME = timedelta(days=365)  # T5
AUTHORIZATION_CODE_LIFETIME = timedelta(seconds=60)
REFRESH_RETRY_WINDOW = timedelta(seconds=60)  # T6
ERASE_AFTER = timedelta(days=1)  # T3

# --- limits (their numbers are in portal/foundation/limits/rates.py) ------------------------------------------

# Of allauth's own pages. A second factor is tried by who knows the password, so it is limited by person alone.
ACCOUNT_RATE_LIMITS = {"login": "", "login_failed": "5/5m/key"}
LIMITS_ARE_ON = True
# Of a form with a file: an app package has up to 5 MB.
MAX_BODY = 6 * 1024 * 1024
# Programs send app packages there; everywhere else only forms with a file are large.
LARGE_BODIES = "/api/"
# A gateway asks about a call without sending its body, but many announce one all the same. It would never arrive.
BODIES_NEVER_SENT = "/oauth/check/"
# An address carries an app's `state` of 4,000 characters, encoded twice on the way through signing in.
MAX_ADDRESS = 64 * 1024

# --- language, time, files -----------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static", ("bootstrap", bootstrap_wrapper.get_bootstrap_dir())]
STATIC_ROOT = VAR / "static"
WHITENOISE_USE_FINDERS = DEMO
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEMO
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
# The picker sends a reason for each scope of the registry, whether chosen or not.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 4000

# --- security ------------------------------------------------------------------------------------------------

_HTTPS = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _HTTPS
# Asked by gateways, products and probes inside the network, which follow no redirect.
SECURE_REDIRECT_EXEMPT = [r"^oauth/check/", r"^oauth/introspect$", r"^(healthz|readyz)$", r"^\.well-known/"]
SECURE_HSTS_SECONDS = 31536000 if _HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = [BASE_URL]
CSRF_FAILURE_VIEW = "portal.views.csrf_failure"
# form-action is left open: after Agree the browser follows a redirect to the app, whatever its address.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- logs ----------------------------------------------------------------------------------------------------

LOGGING = logs.configuration(demo=DEMO, level="INFO")
