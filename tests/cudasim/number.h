/* Numbers as the stand-ins for vendor libraries find them in memory: read as f64, written rounded
 * once, to nearest, halves to even. */
#ifndef DLC_TESTS_CUDASIM_NUMBER_H
#define DLC_TESTS_CUDASIM_NUMBER_H

typedef enum SimNumber { SIM_NO_NUMBER, SIM_F64, SIM_F32, SIM_F16, SIM_BF16 } SimNumber;

int number_bytes(SimNumber number); /* 0 for SIM_NO_NUMBER, which the others do not take */
double number_load(SimNumber number, const void *from);
void number_store(SimNumber number, void *to, double value);

#endif
