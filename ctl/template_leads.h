/* template_leads.h -- texts as the user's own leads would get them. */
#ifndef CTL_TEMPLATE_LEADS_H
#define CTL_TEMPLATE_LEADS_H

#include "ctl/template_text.h"

/* Appends one object for each text and lead to the list: lead (--lead, or the first --samples of
 * the audience), language, zone, characters, and the text or the error.  *ret_bad counts the texts
 * that would not go out.  ERR_GONE when there is no such lead. */
MUST_USE bool template_leads_render(struct ctl *c, const struct template_flags *f,
                                    const struct template_texts *texts, struct composer *composer,
                                    struct doc *list, size_t *ret_bad, struct err *e);

#endif
