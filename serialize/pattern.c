/* SPDX-License-Identifier: Apache-2.0 */
/* pattern.c - see pattern.h. */
#include "serialize/pattern.h"
#include "serialize/name_text.h"

#define SHOWN_BYTES 200

lks_status_t lks_pattern_compile(regex_t *regex, const char *pattern)
{
    int code = regcomp(regex, pattern, REG_EXTENDED);
    if (code == 0) {
        return LKS_OK;
    }
    char reason[128];
    (void)regerror(code, regex, reason, sizeof reason);
    return lks_fail(code == REG_ESPACE ? LKS_ERR_NO_MEMORY : LKS_ERR_INVALID_ARG,
                    "'%.*s' is no regular expression: %s", SHOWN_BYTES, pattern, reason);
}

lks_status_t lks_pattern_check_name(lks_name_t name)
{
    bool zero = memchr(name.text, '\0', name.length) != NULL;
    if (!zero && name.length <= LKS_PATTERN_NAME_MAX) {
        return LKS_OK;
    }
    lks_strbuf_t shown = {0};
    lks_name_append(&shown, name, SHOWN_BYTES);
    lks_status_t status = lks_fail(
        LKS_ERR_UNSUPPORTED, "a pattern does not reach the key '%s', which %s",
        lks_strbuf_text(&shown), zero ? "has a zero byte in it" : "is longer than 4095 bytes");
    lks_strbuf_fini(&shown);
    return status;
}

lks_status_t lks_pattern_check_replacement(const regex_t *regex, const char *pattern,
                                           const char *replacement)
{
    for (const char *at = replacement; *at; at++) {
        if (*at != '\\') {
            continue;
        }
        at++;
        bool is_group = *at >= '0' && *at <= '9';
        if (!is_group && *at != '\\' && *at != '&') {
            return lks_fail(LKS_ERR_INVALID_ARG,
                            "the replacement '%.*s' has a backslash before neither a digit, '&' "
                            "nor another backslash",
                            SHOWN_BYTES, replacement);
        }
        if (is_group && (size_t)(*at - '0') > regex->re_nsub) {
            return lks_fail(LKS_ERR_INVALID_ARG,
                            "the replacement '%.*s' uses group %c of '%.*s', which has %zu",
                            SHOWN_BYTES, replacement, *at, SHOWN_BYTES, pattern, regex->re_nsub);
        }
    }
    return LKS_OK;
}
