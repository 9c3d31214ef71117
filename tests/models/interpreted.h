/* Training by the reference interpreter, with no backend and no run time: what a program means. */
#ifndef DLC_TESTS_MODELS_INTERPRETED_H
#define DLC_TESTS_MODELS_INTERPRETED_H

#include "dlc/dlc.h"
#include "ir/interp.h"

typedef struct Interpreted Interpreted;

enum { INTERPRETED_ERROR = 512 };

/* Of the differentiated IR of one program, as `dlc --emit=grad` prints it, at these dims. NULL: see
 * error, which also names what later calls could not do. */
Interpreted *interpreted_create(const char *ir, const dlc_binding *dims, size_t n_dims,
                                char error[INTERPRETED_ERROR]);
void interpreted_destroy(Interpreted *run);

/* step, steps, epoch, steps_per_epoch, seed, lr: as the run time numbers them. */
void interpreted_scalar(Interpreted *run, const char *name, double value);
bool interpreted_input(Interpreted *run, const char *name, const DLTensor *tensor);
/* Everything zero, then the init Func. */
bool interpreted_init(Interpreted *run);
/* One step of the train Func in f64; its values are stored unless they are not finite. */
bool interpreted_step(Interpreted *run, double *out_loss);
const EvalTensor *interpreted_variable(const Interpreted *run, const char *name); /* NULL: none */

#endif
