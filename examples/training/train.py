# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A random forest that tells late flights from punctual ones, tuned with hyperopt, each trial a run below the Job's run.

The example of the RAPIDS guide "hyperopt and MLflow on Kubernetes". With a GPU and RAPIDS in the image cuML trains, without them
scikit-learn does the same. Where to log to and into which run comes by MLFLOW_TRACKING_URI and MLFLOW_RUN_ID.
"""

import argparse

import mlflow
import mlflow.sklearn
import numpy
import pandas
from hyperopt import STATUS_OK, Trials, fmin, hp, rand, tpe
from mlflow.models import infer_signature

ALGORITHMS = {"tpe": tpe.suggest, "random": rand.suggest}
SPACE = {
    "max_depth": hp.uniformint("max_depth", 5, 20),
    "max_features": hp.uniform("max_features", 0.1, 1.0),
    "n_estimators": hp.uniformint("n_estimators", 20, 100),
}
TARGET = "ArrDelayBinary"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fpath", default="/opt/training/airline_small.parquet", help="Parquet file with the flights")
    parser.add_argument("--algo", default="tpe", choices=sorted(ALGORITHMS), help="how hyperopt chooses the next trial")
    parser.add_argument("--conda-env", default="", help="the environment that made the image; only noted, the image is what runs")
    parser.add_argument("--max-evals", type=int, default=10, help="number of trials")
    parser.add_argument("--model-name", default="rapids_airline_hyperopt_k8s", help="under which the best model is registered")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def library():
    """The forest, the split and the score of cuML where it and a GPU are there, else of scikit-learn; and which it is."""
    try:
        import cupy
        from cuml.ensemble import RandomForestClassifier
        from cuml.metrics import accuracy_score
        from cuml.model_selection import train_test_split

        if cupy.cuda.runtime.getDeviceCount() > 0:
            return RandomForestClassifier, train_test_split, accuracy_score, "cuml"
    except Exception as reason:  # a driver that does not fit raises what it likes; the CPU does without
        print("no RAPIDS here (%s): scikit-learn trains" % type(reason).__name__)
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import accuracy_score
    from sklearn.model_selection import train_test_split

    return RandomForestClassifier, train_test_split, accuracy_score, "sklearn"


def main():
    chosen = arguments()
    forest, split, score, name = library()
    flights = pandas.read_parquet(chosen.fpath).astype("float32")
    features, target = flights.drop(columns=[TARGET]), flights[TARGET].astype("int32")
    if name == "cuml":
        import cudf

        features, target = cudf.from_pandas(features), cudf.from_pandas(target)
    parts = split(features, target, test_size=0.2, random_state=chosen.seed)

    with mlflow.start_run():
        mlflow.set_tags({"library": name, "conda_env": chosen.conda_env, "data": chosen.fpath})
        trials = Trials()

        def trial(parameters):
            """One forest in a run of its own. hyperopt makes the loss small, so it is what is missing to a perfect accuracy."""
            with mlflow.start_run(nested=True):
                _model, accuracy = fit(forest, score, parts, parameters)
                mlflow.log_params(parameters)
                mlflow.log_metric("accuracy", accuracy)
            return {"loss": 1 - accuracy, "status": STATUS_OK, "parameters": parameters}

        fmin(trial, SPACE, ALGORITHMS[chosen.algo], chosen.max_evals, trials=trials, rstate=numpy.random.default_rng(chosen.seed), show_progressbar=False)
        best = trials.best_trial["result"]["parameters"]
        model, accuracy = fit(forest, score, parts, best)
        mlflow.log_metrics({"accuracy": accuracy, "trials": len(trials.trials)})
        mlflow.log_dict(best, "best_parameters.json")
        sample = parts[0].head(5)
        sample = sample.to_pandas() if name == "cuml" else sample
        # cuML's forest is logged as the scikit-learn model it converts to, so that any client can load it.
        portable = model.as_sklearn() if name == "cuml" else model
        mlflow.sklearn.log_model(
            portable,
            name="Airline-Demo",
            registered_model_name=chosen.model_name,
            signature=infer_signature(sample, portable.predict(sample)),
            skops_trusted_types=["sklearn.tree._tree.Tree"],  # ours, made a moment ago; MLflow asks about every compiled type
        )
        print("%s: accuracy %.4f with %s after %d trials" % (name, accuracy, best, len(trials.trials)))


def fit(forest, score, parts, parameters):
    train, test, train_target, test_target = parts
    model = forest(random_state=7, n_jobs=1, **parameters) if forest.__module__.startswith("sklearn") else forest(random_state=7, **parameters)
    model.fit(train, train_target)
    return model, float(score(test_target, model.predict(test)))


if __name__ == "__main__":
    main()
